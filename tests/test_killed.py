"""Commands interrupted, killed and out of room leave nothing that could be taken for a whole."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

MODEL = str(Path(__file__).parents[1] / "examples" / "shakespeare" / "model")

pytestmark = pytest.mark.slow


def figures(printed):
    """All that a command printed but its wall times."""
    return [line for line in printed.splitlines() if not line.startswith("simulation")]


def command(name, folder):
    """The command of a name, which leaves its files in folder / "out"."""
    arguments = {
        "verilog": ["hw", "verilog", "--preset", "tiny", "--out", "out"],
        "import": ["sim", "import", "layer.safetensors", "-o", "out", "--hex"],
        "layer": ["sim", "layer", "--weights", "layer.safetensors", "--preset", "tiny"],
        "speak": ["sim", "speak", "--model", MODEL, "--prompt", "Ay", "--tokens", "2"],
    }[name]
    # From another folder than the checkout's only the package itself has a name.
    package, *rest = arguments
    command_line = [sys.executable, "-m", f"tritloom.{package}", *rest]
    return {"args": command_line, "cwd": folder, "text": True}


def written(folder):
    """Content of each file that the command leaves to its user, by name."""
    out = folder / "out"
    files = [path for path in out.rglob("*") if path.is_file() and path.name[0] != "."]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def prepare(folder):
    rng = np.random.default_rng(2)
    tensor = rng.integers(-1, 1, (600, 500), endpoint=True).astype(np.float32)
    save_file({"w": tensor}, folder / "layer.safetensors")
    return folder


# What speaks compiles the same way as what runs a layer: that it is killed too takes minutes.
SPEAK = pytest.param("speak", marks=pytest.mark.exhaustive)
COMPILING = ("layer", "speak")


@pytest.fixture(scope="module", params=["verilog", "import", "layer", SPEAK])
def undisturbed(request, tmp_path_factory):
    """(name, what it writes, what it prints, seconds, where it ran)."""
    folder = prepare(tmp_path_factory.mktemp("undisturbed"))
    start = time.perf_counter()
    done = subprocess.run(**command(request.param, folder), capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    return request.param, written(folder), done.stdout, time.perf_counter() - start, folder


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=lambda sent: sent.name)
def test_after_a_signal_files_are_whole_or_absent_and_a_rerun_is_right(undisturbed, sent, tmp_path):
    name, files, printed, seconds, _ = undisturbed
    folder = prepare(tmp_path)
    # A compilation takes its time.
    times = 1 if name in COMPILING else 3
    for share in np.random.default_rng(sent).uniform(0.3, 0.95, times):
        process = subprocess.Popen(
            **command(name, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(share * seconds)
        process.send_signal(sent)
        _, error = process.communicate(timeout=120)
        # Where Python is still importing, the signal itself ends it.
        assert process.returncode in (0, 130, -sent), error
        assert process.returncode != 130 or re.fullmatch(
            r"python -m (hw|sim)( \w+)?: interrupted\n", error
        )
        for file, content in written(folder).items():
            assert content == files[file], f"{file} after {share:.2f} of {seconds:.1f} s"
    done = subprocess.run(**command(name, folder), capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert written(folder) == files
    if name in COMPILING:
        assert figures(done.stdout) == figures(printed)


@pytest.mark.parametrize("undisturbed", ["layer"], indirect=True)
def test_objects_that_a_killed_compiler_cut_short_are_compiled_anew(undisturbed):
    name, _, printed, _, folder = undisturbed
    (mark,) = folder.glob("build/sim/core-*/built")
    objects = [path for path in mark.parent.iterdir() if path.suffix in (".o", ".a")]
    assert objects
    for path in (*objects, mark.parent / "tritloom_dut"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    mark.unlink()
    done = subprocess.run(**command(name, folder), capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert figures(done.stdout) == figures(printed)


def test_without_room_there_is_one_line_and_no_file(undisturbed, tmp_path):
    name, *_ = undisturbed
    # Commands that compile get enough room to come as far as the compiler.
    room = 500_000 if name in COMPILING else 4096

    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    # In `make coverage-python` there would be no room for what coverage.py writes either.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        **command(name, prepare(tmp_path)), env=plain, capture_output=True, preexec_fn=no_room
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert re.match(
        r"python -m (hw|sim) \w+: error: .*(File too large|File size limit exceeded)",
        done.stderr,
    )
    assert written(tmp_path) == {}
    assert {path.name for path in tmp_path.iterdir()} <= {"layer.safetensors", "out", "build"}
    assert not list(tmp_path.glob("build/**/built"))
