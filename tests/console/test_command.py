"""The frame of commands: options, one-line errors, statuses, pipes, interrupts."""

import argparse
import importlib
import importlib.machinery
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tritloom.arch.errors import InputError, MismatchError, ToolError
from tritloom.console import command
from tritloom.console.command import Command, Interrupted, Program

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def no_arguments(parser):
    """A command without options."""


@pytest.fixture
def program(monkeypatch):
    """Makes a program of one command `work` from its run function and arguments."""

    def make(run, arguments=no_arguments):
        work = Command(
            name="work",
            help="works",
            description="Works hard.",
            arguments=arguments,
            run=run,
            examples="{prog} work\n{prog} work --hard",
        )
        monkeypatch.setitem(sys.modules, "room_of_one", SimpleNamespace(COMMANDS=(work,)))
        return Program("prog", "A program.", ["room_of_one"])

    return make


def raising(error):
    def run(options):
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "status", "line"),
    [
        (lambda options: None, 0, ""),
        (lambda options: command.FAILED, 1, ""),
        (raising(MismatchError("a 1, b 2")), 1, "prog work: failed: a 1, b 2\n"),
        (raising(InputError("rows 0")), 2, "prog work: error: rows 0\n"),
        (raising(InputError("file a\nb")), 2, "prog work: error: file a\\nb\n"),
        (raising(ToolError("make failed")), 2, "prog work: error: make failed\n"),
        (raising(ToolError("make failed\nx.cpp:1")), 2, "prog work: error: make failed\n"),
        (
            raising(FileNotFoundError(2, "No such file", "x.npy")),
            2,
            "prog work: error: x.npy: No such file\n",
        ),
        (raising(OSError("odd")), 2, "prog work: error: odd\n"),
        (raising(KeyboardInterrupt()), 130, "prog work: interrupted\n"),
        (raising(Interrupted("go on")), 130, "prog work: interrupted: go on\n"),
    ],
)
def test_end_has_its_status_and_one_line(program, capsys, run, status, line):
    assert program(run).main(["work"]) == status
    assert capsys.readouterr().err == line


def test_faults_of_ours_are_not_hidden(program):
    with pytest.raises(ZeroDivisionError):
        program(raising(ZeroDivisionError())).main(["work"])


def importing(module):
    def run(options):
        importlib.import_module(module)

    return run


@pytest.mark.parametrize("module", command.EXTRAS)
def test_package_of_an_extra_that_is_missing_is_one_line(program, capsys, monkeypatch, module):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.BuiltinImporter])
    assert program(importing(module)).main(["work"]) == 2
    extra = f"{module} is missing: install the package's `sim` extra"
    assert capsys.readouterr().err == f"prog work: error: {extra}\n"


def test_missing_module_of_ours_is_not_hidden(program):
    with pytest.raises(ModuleNotFoundError, match=r"tritloom\.none"):
        program(importing("tritloom.none")).main(["work"])


def test_extras_are_those_of_the_package():
    project = tomllib.loads(PROJECT.read_text())["project"]
    for module, extra in command.EXTRAS.items():
        first = module.partition("_")[0].removesuffix("ext")
        brought = project["optional-dependencies"][extra]
        assert any(requirement.startswith(first) for requirement in brought)


@pytest.mark.parametrize("arguments", [["--har"], ["more"]])
def test_wrong_option_of_a_command_names_the_command(program, capsys, arguments):
    with pytest.raises(SystemExit):
        program(raising(AssertionError)).main(["work", *arguments])
    expected = f"prog work: error: unrecognized arguments: {arguments[0]}\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("arguments", [["work", "--har"], ["work", "x\ny"], ["rest"], []])
def test_wrong_options_end_in_one_line_without_usage(program, capsys, arguments):
    def add(parser):
        parser.add_argument("--hard", action="store_true")

    with pytest.raises(SystemExit) as end:
        program(raising(AssertionError), add).main(arguments)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("prog")
    assert ": error: " in err


def test_help_lists_commands_and_examples_with_the_program(program, capsys):
    made = program(raising(AssertionError))
    for arguments, expected in (
        (["--help"], "work   "),
        (["work", "--help"], "examples:\n  prog work\n  prog work --hard\n"),
    ):
        with pytest.raises(SystemExit) as end:
            made.main(arguments)
        assert end.value.code == 0
        assert expected in capsys.readouterr().out


def test_version_is_that_of_the_package(program, capsys):
    with pytest.raises(SystemExit) as end:
        program(raising(AssertionError)).main(["--version"])
    assert end.value.code == 0
    version = tomllib.loads(PROJECT.read_text())["project"]["version"]
    assert capsys.readouterr().out == f"tritloom {version}\n"


def test_commands_see_their_own_options_alone(program):
    seen = []
    assert program(lambda options: seen.extend(vars(options))).main(["work"]) == 0
    assert seen == ["command"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_help_fits_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    long = Command(
        name="longestone",
        help="works",
        description="Works hard,\nand says so in many words " * 9,
        arguments=no_arguments,
        run=raising(AssertionError),
        examples="{prog} longestone " + "x" * columns,
    )
    monkeypatch.setitem(sys.modules, "room_of_long", SimpleNamespace(COMMANDS=(long,)))
    made = Program("prog", "A program.", ["room_of_long"])
    with pytest.raises(SystemExit):
        made.main(["longestone", "--help"])
    text, examples = capsys.readouterr().out.split("\nexamples:\n")
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    described = lines[2 : lines.index("", 2)]
    assert min(map(len, described[:-1])) > columns - 12
    assert examples == f"  prog longestone {'x' * columns}\n"
    with pytest.raises(SystemExit):
        made.main(["--help"])
    assert "    longestone  works\n" in capsys.readouterr().out


def test_options_reach_the_command(program):
    def add(parser: argparse.ArgumentParser):
        parser.add_argument("--depth", type=int, required=True)

    made = program(lambda options: options.depth, add)
    assert made.main(["work", "--depth=7"]) == 7


def test_an_interrupt_that_ends_in_another_error_is_an_interrupt(program, capsys):
    def run(options):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("as NumPy does") from None

    # A shell starts its background jobs, and so perhaps this test, with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert program(run).main(["work"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "prog: interrupted\n"


# A program in a process of its own: its room takes a second to import, or prints without end.
SLOW = """
import sys, types, time
import tritloom.console.command as frame

class Loader:
    def find_spec(self, name, path=None, target=None):
        if name == "slow_room":
            print("importing", file=sys.stderr, flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Loader())
sys.exit(frame.Program("prog", "", ["slow_room"]).main(["work"]))
"""
PRINTING = """
import sys, types
import tritloom.console.command as frame

def run(options):
    for number in range({lines}):
        print(number)

work = frame.Command(name="work", help="", description="", arguments=lambda parser: None, run=run)
sys.modules["room"] = types.SimpleNamespace(COMMANDS=(work,))
sys.exit(frame.Program("prog", "", ["room"]).main({arguments}))
"""


def test_interrupt_while_modules_are_imported_is_one_line():
    def take_interrupts():
        # A shell starts its background jobs with the signal ignored, which children inherit.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=take_interrupts,
    ) as process:
        assert process.stderr.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "prog: interrupted\n"
        assert process.wait(10) == 130


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("reader", ["head -1", "true"])
@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("arguments", [["work"], ["--help"], ["work", "--help"]], ids=" ".join)
def test_reader_that_has_enough_is_no_failure(unbuffered, reader, lines, arguments, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PRINTING.format(lines=lines, arguments=arguments))
    shell = f'{{ "{sys.executable}" {script}; echo "status $?" >&2; }} | {reader}'
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        ["sh", "-c", shell], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == "status 0\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_output_that_cannot_be_written_is_one_line(tmp_path):
    script = PRINTING.format(lines=3, arguments=["work"])
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
            check=False,
        )
    assert done.stderr == "prog work: error: standard output: No space left on device\n"
    assert done.returncode == 2


def test_every_program_starts_quickly():
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", PRINTING.format(lines=1, arguments=["work"])], check=True)
    assert time.monotonic() - start < 5
