"""What prose names exists: files and folders, modules and their members, targets of make."""

import ast
import functools
import importlib
import importlib.util
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("arch", "console", "docs", "energy_model", "examples", "hw", "sim", "tests", "tritloom")
# `*` stands for any name, as in a shell.
NAMED = re.compile(rf"(?<![\w./*-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w*]")
# A module or a member of one, as `arch.timing` or `tritloom.arch.timing.skew`.
DOTTED = re.compile(r"`(?:tritloom\.)?((?:arch|console|energy_model|hw|sim)(?:\.\w+)+)[`(]")
MODULE_RUN = re.compile(r"python -m ((?:arch|docs|energy_model|hw|sim|tests|tritloom)[\w.]*\w)")
COMMAND_RUN = re.compile(r"python -m (hw|sim|energy_model) ([a-z][\w-]*)")
MADE = re.compile(r"(?:^    |[`(])make ((?!it\b)[a-z][\w-]*)", re.MULTILINE)


def prose(path):
    """What a file says to a reader: all of it, or the docstrings and comments of Python."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, documented))
    docstrings = [ast.get_docstring(node) or "" for node in nodes]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join([*docstrings, *(t.string for t in tokens if t.type == tokenize.COMMENT)])


def missing(text):
    """Paths in a text that lead nowhere, but for those of another project's repository."""
    ours = re.sub(r"\w[\w.-]*\.(?:com|org)/\S+?, \S+", "", text)
    # Capitals stand for a name of the reader's.
    named = [name for name in NAMED.findall(ours) if not re.search(r"/[A-Z]+\b(?!\.)", name)]
    return [name for name in named if not any(ROOT.glob(name))]


def unresolved(text):
    """Dotted names in a text that are no module and no member of one, nor a public name's."""
    return [name for name in DOTTED.findall(text) if not resolves(f"tritloom.{name}")]


def resolves(name):
    parts = name.split(".")
    for count in range(len(parts), 1, -1):
        try:
            value = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return all((value := getattr(value, part, None)) is not None for part in parts[count:])
    return False


def not_runnable(text):
    """Modules after `python -m` in a text that are none."""
    return [
        name
        for name in MODULE_RUN.findall(text)
        if not (ROOT / name.replace(".", "/")).with_suffix(".py").exists()
        and not (ROOT / name.replace(".", "/") / "__main__.py").exists()
        and not importlib.util.find_spec(name)
    ]


def no_commands(text):
    """Commands of our programs that a text runs and that they have not."""
    return [
        f"{program} {name}"
        for program, name in COMMAND_RUN.findall(text)
        if name not in commands(program)
    ]


@functools.cache
def commands(program):
    module = importlib.import_module(f"tritloom.{program}.__main__")
    return {command.name for command in module.PROGRAM.commands()}


def not_made(text):
    """Targets that a text names and the Makefile has not."""
    rules = (ROOT / "Makefile").read_text()
    return [t for t in MADE.findall(text) if not re.search(rf"^{t}:", rules, re.MULTILINE)]


FILES = [
    *ROOT.glob("*.md"),
    *(ROOT / name for name in ("Makefile", "pyproject.toml", "tritloom.core")),
    *(
        path
        for folder in FOLDERS
        for kind in ("md", "py", "yaml", "cpp", "v", "jinja")
        for path in (ROOT / folder).rglob(f"*.{kind}")
        # Holds names of tests from below tests/.
        if path.name != "formula_mutants.yaml"
    ),
]


@pytest.mark.parametrize("path", sorted(FILES), ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_prose_exist(path):
    assert missing(prose(path)) == []


@pytest.mark.parametrize("path", sorted(FILES), ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_commands_in_prose_exist(path):
    text = prose(path)
    assert unresolved(text) == []
    assert not_runnable(text) == []
    assert no_commands(text) == []
    if path.suffix == ".md":
        assert not_made(text) == []


def test_planted_paths_are_caught():
    text = (
        "`arch/clocks.py`, (docs/nothing.md), tests/none/*.py, and hw/core/core.py or sim/golden/."
    )
    assert missing(text) == ["arch/clocks.py", "docs/nothing.md", "tests/none/*.py"]


def test_other_paths_are_left_alone():
    text = "x/arch/clocks.py build/sim/x docs/NAME github.com/someone/thing, docs/figures.md"
    assert missing(text) == []


def test_code_is_no_prose(tmp_path):
    file = tmp_path / "x.py"
    file.write_text('"""See arch/a.py."""\nname = "arch/b.py"  # from arch/c.py\n')
    assert missing(prose(file)) == ["arch/a.py", "arch/c.py"]


def test_planted_names_and_commands_are_caught():
    text = "`arch.clocks`, `arch.timing.skewed`, `hw.core.core.Core`, `tritloom.sim.golden.nothing`"
    assert unresolved(text) == ["arch.clocks", "arch.timing.skewed", "sim.golden.nothing"]
    assert not_runnable("`python -m sim.nothing`, python -m tests.tools.rooms") == ["sim.nothing"]
    assert no_commands("python -m hw verilog and python -m hw vhdl") == ["hw vhdl"]
    assert not_made("`make everything`, `make test`\n\n    make tea") == ["everything", "tea"]
