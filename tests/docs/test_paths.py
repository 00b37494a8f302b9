"""Paths that prose names: each file and folder exists, wherever it is spoken of."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("arch", "console", "docs", "energy_model", "examples", "hw", "sim", "tests", "tritloom")
# `*` stands for any name, as in a shell.
NAMED = re.compile(rf"(?<![\w./*-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w*]")


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
    return [name for name in NAMED.findall(ours) if not any(ROOT.glob(name))]


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


def test_planted_paths_are_caught():
    text = (
        "`arch/clocks.py`, (docs/nothing.md), tests/none/*.py, and hw/core/core.py or sim/golden/."
    )
    assert missing(text) == ["arch/clocks.py", "docs/nothing.md", "tests/none/*.py"]


def test_other_paths_are_left_alone():
    assert missing("x/arch/clocks.py build/sim/x github.com/someone/thing, docs/figures.md") == []


def test_code_is_no_prose(tmp_path):
    file = tmp_path / "x.py"
    file.write_text('"""See arch/a.py."""\nname = "arch/b.py"  # from arch/c.py\n')
    assert missing(prose(file)) == ["arch/a.py", "arch/c.py"]
