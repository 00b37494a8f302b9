"""The frame around every command: how it parses options, fails, and ends.

A room of commands has a module `command` with `COMMANDS`, a tuple of `Command`; a `__main__` puts
rooms together as a `Program`. So all commands alike

- take options by their full names only, and say what is wrong with them in one line;
- end with status 0, or 1 where a check failed, 2 for bad input, 130 after an interrupt;
- take it as no failure when the reader of their output has enough, as in `| head`;
- print one line when they are interrupted, also while modules are still being imported.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from tritloom.arch.errors import InputError, MismatchError, ToolError, one_line

# Exit statuses.
PASSED, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

# How the examples below a command's help begin.
EXAMPLES = "examples:\n"

# Modules that an installation may lack, with the extra of the package that brings each.
EXTRAS = dict.fromkeys(
    ("cocotb", "cocotb_tools", "cocotbext", "gguf", "ml_dtypes", "safetensors"), "sim"
)


class Interrupted(KeyboardInterrupt):
    """An interrupt about which the command has something to say: its message."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a program.

    Attributes
    ----------
    name : str
        As it is typed.
    help : str
        A phrase for the list of commands.
    description : str
        Sentences for the command's own help, which folds them to the terminal.
    arguments : callable
        Adds the options to a parser. It must import nothing heavy: every start calls it.
    run : callable
        Does the work with the parsed options. A check that fails raises `MismatchError`, or the
        function returns `FAILED`; bad input raises `InputError`, `ToolError` or `OSError`.
    examples : str
        Command lines, one each line, with {prog} for the program.
    """

    name: str
    help: str
    description: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    examples: str = ""


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and reports an error in one line, without the usage."""

    def __init__(self, *args, **options):
        super().__init__(*args, **(options | {"allow_abbrev": False}))

    def error(self, message: str) -> NoReturn:
        """End with status 2 after one line on standard error."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {one_line(message)}\n")


class Version(argparse.Action):
    """Prints the version of the installed package, which is looked up only then, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_) -> NoReturn:
        """Print one line such as "tritloom 0.1.0"."""
        from importlib.metadata import version

        print(f"tritloom {version('tritloom')}")
        parser.exit()


class Formatter(argparse.HelpFormatter):
    """Help that folds descriptions to the terminal, keeps examples, and aligns commands."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)

    def add_argument(self, action: argparse.Action) -> None:
        """Add an argument; commands are measured with the indent that they are printed with."""
        super().add_argument(action)
        indent = self._current_indent + self._indent_increment
        for command in self._iter_indented_subactions(action):
            length = len(self._format_action_invocation(command)) + indent
            self._action_max_length = max(self._action_max_length, length)


class Program:
    """A command line made of the commands of several rooms.

    Parameters
    ----------
    prog : str
        How a user starts it, such as "python -m sim".
    description : str
        A sentence for its help.
    rooms : sequence of str
        Dotted names of the modules that have `COMMANDS`.
    """

    def __init__(self, prog: str, description: str, rooms: Sequence[str]):
        self.prog = prog
        self.description = description
        self.rooms = tuple(rooms)

    def commands(self) -> tuple[Command, ...]:
        """The commands of all rooms, in the order of the rooms."""
        return tuple(
            command for room in self.rooms for command in importlib.import_module(room).COMMANDS
        )

    def parser(self) -> Parser:
        """The parser of the whole command line; options hold the `Command` as `command`."""
        parser = Parser(prog=self.prog, description=self.description, formatter_class=Formatter)
        parser.add_argument(
            "--version",
            action=Version,
            nargs=0,
            default=argparse.SUPPRESS,  # no option of a command, which pages of reports list
            help="show the package's version and exit",
        )
        subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
        for command in self.commands():
            lines = [f"  {line}" for line in command.examples.format(prog=self.prog).splitlines()]
            subparser = subparsers.add_parser(
                command.name,
                help=command.help,
                description=command.description,
                epilog=EXAMPLES + "\n".join(lines) if lines else None,
                formatter_class=Formatter,
            )
            command.arguments(subparser)
            subparser.set_defaults(command=command)
        return parser

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command line and return its exit status."""
        with _interrupts() as came:
            try:
                return self._main(arguments)
            except Exception:
                # What an interrupt cuts short may end in any way: NumPy, for one, turns an
                # interrupt of its import into an ImportError.
                if came:
                    return _end(self.prog, "interrupted", INTERRUPTED)
                raise

    def _main(self, arguments: Sequence[str] | None) -> int:
        name = self.prog
        try:
            with _pipes():
                parser = self.parser()
                options, unknown = parser.parse_known_args(arguments)
                name = f"{self.prog} {options.command.name}"
                if unknown:
                    # By itself, argparse would name the program without the command.
                    parser.prog = name
                    parser.error(f"unrecognized arguments: {' '.join(unknown)}")
                return options.command.run(options) or PASSED
            return PASSED
        except MismatchError as error:
            return _end(name, f"failed: {one_line(error)}", FAILED)
        except InputError as error:
            return _end(name, f"error: {one_line(error)}", BAD_INPUT)
        except ToolError as error:
            # What the tool printed stands on further lines.
            first = str(error).partition("\n")[0]
            return _end(name, f"error: {one_line(first)}", BAD_INPUT)
        except OSError as error:
            return _end(name, f"error: {one_line(_told(error))}", BAD_INPUT)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module not in EXTRAS:
                raise
            line = f"error: {module} is missing: install the package's `{EXTRAS[module]}` extra"
            return _end(name, line, BAD_INPUT)
        except KeyboardInterrupt as error:
            # Amaranth warns of gateware that was dropped before it became Verilog.
            warnings.simplefilter("ignore")
            what = f": {error}" if isinstance(error, Interrupted) else ""
            return _end(name, f"interrupted{what}", INTERRUPTED)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Note interrupts in a list, besides raising `KeyboardInterrupt` as Python does by itself."""
    came: list[int] = []
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number, frame):
        came.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(name: str, line: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(f"{name}: {line}", file=sys.stderr)
    return status


def _told(error: OSError) -> str:
    """What went wrong and with which file, without the number of the error."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


@contextlib.contextmanager
def _pipes():
    """Flush standard output at the end; a reader of it that has gone is no failure."""
    try:
        try:
            yield
        finally:
            _flush()
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        _drop_output()


def _flush() -> None:
    """Flush standard output; raises `OSError` for a full disk or a broken pipe."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise OSError(error.errno, error.strerror, "standard output") from None


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _drop_output() -> None:
    """Point standard output at nothing: Python flushes it again at exit, and would complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
