"""The text of a Liberty file: groups in groups, with attributes."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tritloom.arch.errors import InputError


def read_text(file: Path) -> str:
    """The text of a file, gzipped or not; `InputError` where the file cannot be read."""
    try:
        content = file.read_bytes()
        return (gzip.decompress(content) if file.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        # The text of an error of the system names the file again, behind a number.
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{file} cannot be read: {why}") from None


def cut(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The text before the cells of a file, and (name, text) of each cell."""
    starts = [match.start() for match in re.finditer(r"^[ \t]*cell *\(", text, re.MULTILINE)]
    blocks = [text[a:b] for a, b in pairwise([*starts, text.rstrip().rfind("}")])]
    names = map(_cell_name, blocks)
    return text[: starts[0]] if starts else text, list(zip(names, blocks, strict=True))


def _cell_name(block: str) -> str:
    """The name of the cell in a block of text, empty where there is none."""
    found = re.match(r"\s*cell *\( *\"?(\w*)", block)
    return found[1] if found else ""


# A string, a word or number, or a character that counts. A line's end counts, as it may stand for a
# semicolon, but not behind a backslash.
_TOKEN = re.compile(
    r'[ \t\r]+|\\\r?\n|/\*.*?\*/|//[^\n]*|"([^"]*)"|([^\s"(){}:;,\\]+)|([(){}:;,\n])', re.DOTALL
)


@dataclass(frozen=True, eq=False)
class Node:
    """A group, an attribute with a value, or one with arguments in parentheses."""

    id: str
    args: list[str]
    value: str
    children: list[Node]

    def find(self, name: str) -> Node | None:
        """The first child of that name."""
        return next(self.each(name), None)

    def each(self, name: str) -> Iterator[Node]:
        """The children of that name."""
        return (child for child in self.children if child.id == name)

    def text(self, name: str, default: str = "") -> str:
        """The value of an attribute, or the default where there is none."""
        found = self.find(name)
        return default if found is None else found.value


def tree(text: str) -> Node:
    """The group that is the library; `ValueError` where the text is no Liberty.

    This is a parser of our own, because those on PyPI have another licence, or run on some Pythons
    only.
    """
    root = Node("", [], "", [])
    # Groups that are open, and the words of the statement that is under way.
    stack, inside, colon = [root], False, False
    words: list[str] = []
    args: list[str] = []
    for match in _TOKEN.finditer(text):
        string, word, sign = match.groups()
        if string is not None or word is not None:
            (args if inside else words).append(word if string is None else string)
        elif sign in (None, ",") or (sign == "\n" and not (colon and len(words) > 1)):
            continue
        elif sign == "(":
            args, inside = [], True
        elif sign == ")":
            inside = False
        elif sign == ":":
            colon = True
        elif inside:
            raise ValueError("parentheses do not match")
        elif sign == "{":
            group = Node(words[0], args, "", [])
            stack[-1].children.append(group)
            stack.append(group)
            words, args, colon = [], [], False
        else:
            if words:
                value = " ".join(words[1:]) if colon else ""
                stack[-1].children.append(Node(words[0], args, value, []))
            words, args, colon = [], [], False
            if sign == "}":
                stack.pop()
    if len(stack) != 1 or not root.children:
        raise ValueError("braces do not match")
    return root.children[0]


def numbers(args: list[str]) -> list[float]:
    """The numbers in an attribute's arguments."""
    return [float(number) for arg in args for number in arg.replace(",", " ").split()]
