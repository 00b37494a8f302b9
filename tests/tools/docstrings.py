"""First lines of docstrings that do not stand alone.

    python -m tests.tools.docstrings [PATH ...]

prints each of them, in the files named or in all of ours, as `path:line: name: fault: the line`,
and ends with status 1 if there is one. A first line stands alone where a reader who sees nothing
else, as in a table of names or an editor's hint, knows what is spoken of.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("arch", "console", "docs", "energy_model", "examples", "hw", "sim", "tests", "tritloom")

# Words that open a phrase whose noun is somewhere else. "At least" and "At most" have theirs, and
# so has the sentence behind "In every cycle".
_PREPOSITION = r"(?:Of|As|By|With|Without|For|From|On|After|Before|Under|Per)\b(?!-)"
_PLACE = r"(?:At (?!least|most)|In (?!every\b|each\b))"
_PRONOUN = r"(?:It|Its|Itself|They|Their|Them|This|That|These|Those|Ours|Theirs)\b"
_CONJUNCTION = r"(?:And|Or|But|Also|Nor|Likewise|Otherwise|So|Then|Too)\b"
_REST = (
    r"(?:(?:The|A) (?:same|other|others|rest|latter|former)\b|Same\b|Others?\b|More of them|Few\b)"
)
_OPENING = re.compile("|".join([_PREPOSITION, _PLACE, _PRONOUN, _CONJUNCTION, _REST]))
_TWO_SENTENCES = re.compile(r"[^\s.][.!?] +[A-Z`(]")
_VERB_AND_PRONOUN = re.compile(r"[A-Z]\w* (?:it|them|this|that|these|those)[.!?]")


def fault(docstring: str) -> str | None:
    """Name what is wrong with the first line of a docstring; None where it stands alone."""
    line = docstring.partition("\n")[0].strip()
    if not line:
        return "is empty"
    if found := _OPENING.match(line):
        return f"opens with {found[0].strip()!r}"
    if not re.search(r"[.!?]$", line):
        return "ends without a full stop"
    if _TWO_SENTENCES.search(line):
        return "is more than one sentence"
    if _VERB_AND_PRONOUN.fullmatch(line):
        return "says of what by a pronoun"
    return None


def faults(source: str) -> Iterator[tuple[int, str, str, str]]:
    """(line, name, fault, first line) of each docstring of a module that does not stand alone."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, documented) or (text := ast.get_docstring(node)) is None:
            continue
        if (wrong := fault(text)) is not None:
            name = getattr(node, "name", "module")
            yield node.body[0].lineno, name, wrong, text.partition("\n")[0]


def sources(root: Path = ROOT) -> list[Path]:
    """Python files of the packages, their tests, the book and the examples, from the root."""
    return sorted(
        path.relative_to(root) for folder in FOLDERS for path in (root / folder).rglob("*.py")
    )


def main() -> int:
    """Print every first line that does not stand alone."""
    paths = [Path(name) for name in sys.argv[1:]] or [ROOT / path for path in sources()]
    status = 0
    for path in paths:
        for line, name, wrong, text in faults(path.read_text()):
            print(f"{path}:{line}: {name}: {wrong}: {text}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
