"""The wheel: what is in it, and that it runs where there is nothing else of ours."""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tools.rooms import PACKAGES, is_test
from tritloom.__main__ import PROGRAM
from tritloom.sim.run.command import EXAMPLE_MODEL, PACKAGED_MODEL

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
# A package of PyPI that has a name of one of our folders.
NAMESAKE = "arch"
# What only a command that needs it may import.
HEAVY = {
    *[
        "amaranth",
        "cocotb",
        "gguf",
        "joblib",
        "matplotlib",
        "pyosys",
        "rich",
        "safetensors",
        "torch",
    ]
}


def source_files():
    """Every file of ours that is to be installed, by its path in the wheel."""
    found = {}
    for name in PACKAGES:
        for path in sorted((ROOT / name).rglob("*")):
            place = path.relative_to(ROOT)
            if not path.is_file() or path.suffix == ".pyc" or is_test(place):
                continue
            found[place if name == "tritloom" else Path("tritloom", place)] = path
    for path in sorted((ROOT / EXAMPLE_MODEL).rglob("*")):
        if path.is_file():
            place = path.relative_to(ROOT / EXAMPLE_MODEL)
            found[Path("tritloom", PACKAGED_MODEL, place)] = path
    return found


def test_listed_packages_are_the_folders_with_source():
    folders = {path.parent for path in source_files() if path.suffix == ".py"}
    folders.add(Path("tritloom", PACKAGED_MODEL))
    assert sorted(SETTINGS["tool"]["setuptools"]["packages"]) == sorted(
        ".".join(folder.parts) for folder in folders
    )


def test_every_top_folder_has_its_place_in_the_package():
    wanted = {"tritloom" if name == "tritloom" else f"tritloom.{name}": name for name in PACKAGES}
    wanted[f"tritloom.{PACKAGED_MODEL}"] = str(EXAMPLE_MODEL)
    assert SETTINGS["tool"]["setuptools"]["package-dir"] == wanted


@pytest.mark.parametrize("arguments", [["--help"], ["import", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments):
    code = f"""
import sys
from tritloom.__main__ import PROGRAM
try:
    PROGRAM.main({arguments})
except SystemExit:
    print(*({HEAVY} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_command_has_the_commands_of_all_rooms():
    rooms = {path.parent for path in source_files() if path.name == "command.py"}
    rooms = {room for room in rooms if room != Path("tritloom", "console")}
    assert sorted(PROGRAM.rooms) == sorted(f"{'.'.join(room.parts)}.command" for room in rooms)
    names = [command.name for command in PROGRAM.commands()]
    assert len(set(names)) == len(names)


def clean_environment(**changes):
    """Variables without those that change what Python imports."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    return kept | changes


def pip(*arguments, python=None):
    target = ["--python", str(python)] if python else []
    environment = clean_environment(PIP_CONSTRAINT=str(ROOT / "constraints.txt"))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *target, *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools leaves files beside the source, and takes up old ones."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    shutil.copytree(ROOT / EXAMPLE_MODEL, source / EXAMPLE_MODEL)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--wheel-dir", str(out), str(source))
    (path,) = out.glob("*.whl")
    return path


@pytest.mark.slow
def test_wheel_has_every_file_of_the_package_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
    inside = {name for name in names if not name.parts[0].endswith(".dist-info")}
    assert inside == set(source_files())
    assert {name.parts[0] for name in inside} == {"tritloom"}
    assert Path("tritloom/py.typed") in inside


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel, PyPI's namesake, and what the wheel depends on.

    Its `run` starts a command in an empty folder that nobody may write to.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    pip("install", "--no-deps", str(wheel), python=python)
    # Dependencies are ours. A path in a .pth file brings no .pth files of its own, so neither our
    # editable install nor the working folder is on the path.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip("install", "--only-binary=:all:", NAMESAKE, python=python)
    here = tmp_path_factory.mktemp("here")
    here.chmod(0o555)

    def run(*command):
        return subprocess.run(
            [str(folder / "bin" / command[0]), *map(str, command[1:])],
            cwd=here,
            env=clean_environment(XDG_CACHE_HOME=str(folder / "cache"), COLUMNS="100"),
            capture_output=True,
            text=True,
            preexec_fn=_obey_modes,
        )

    return SimpleNamespace(run=run, packages=packages, here=here)


def _obey_modes():
    """Root may write where a folder's mode forbids it; without the capability it may not."""
    drop, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE of prctl(2)
    ctypes.CDLL(None).prctl(drop, override, 0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tritloom", *(f"tritloom.{p}" for p in PACKAGES[:-1])])
def test_the_wheel_is_what_is_imported(installed, name):
    done = installed.run("python", "-c", f"import {name}; print({name}.__file__)")
    assert done.stdout.startswith(str(installed.packages)), done.stderr


@pytest.mark.slow
def test_namesake_on_pypi_is_left_whole(installed):
    code = f"import {NAMESAKE}; print({NAMESAKE}.__file__, {NAMESAKE}.univariate.arch_model)"
    done = installed.run("python", "-c", code)
    assert done.stdout.startswith(str(installed.packages / NAMESAKE)), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hw", "sim", "console", "energy_model"])
def test_wheel_takes_no_other_name(installed, name):
    assert "ModuleNotFoundError" in installed.run("python", "-c", f"import {name}").stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("report --size 7b", "7b"),
        ("report --size 7b --format html", "<!doctype html>"),
        ("compare", "13b"),
        ("trace --size 7b", "layers:"),
        ("reproduce", "70b"),
        ("validate", "MEASURED"),
        ("verilog --help", "--preset"),
    ],
)
def test_command_that_prints_runs_in_a_read_only_folder(installed, command, printed):
    done = installed.run("tritloom", *command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert printed.lower() in done.stdout.lower()


@pytest.mark.slow
def test_the_installed_model_speaks_in_a_read_only_folder(installed):
    done = installed.run("tritloom", "speak", "--prompt", "MACBETH.", "--tokens", "10")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("MACBETH.")


@pytest.mark.slow
def test_verilog_is_written_where_it_is_asked_for(installed, tmp_path):
    done = installed.run("tritloom", "verilog", "--preset", "tiny", "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "module" in (tmp_path / "tiny.v").read_text()


@pytest.mark.slow
def test_read_only_folder_is_told_in_one_line(installed):
    done = installed.run("tritloom", "verilog", "--preset", "tiny")
    assert done.returncode == 2
    assert done.stderr.startswith("tritloom verilog: error: build")
    assert len(done.stderr.splitlines()) == 1
    assert not list(installed.here.iterdir())


@pytest.mark.slow
def test_layer_keeps_its_build_in_the_users_cache(installed, tmp_path):
    import numpy as np

    weights = tmp_path / "w.npy"
    np.save(weights, np.random.default_rng(0).integers(-1, 2, (8, 16)).astype(np.int8))
    done = installed.run("tritloom", "layer", "--weights", weights, "--preset", "tiny")
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(installed.here.iterdir())


@pytest.mark.slow
def test_model_is_imported_with_its_trace(installed, tiny, tmp_path):
    model, out = tiny.write_hf(tmp_path / "model"), tmp_path / "out"
    done = installed.run("tritloom", "import", model, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "layers:" in (out / "trace.yaml").read_text()
