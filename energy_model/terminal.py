"""Tables on standard output: coloured and ruled on a terminal, plain in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def console() -> Console:
    """A console that changes nothing in what it prints, and folds nothing in a pipe."""
    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = 200  # a pipe has no width: do not fold cells
    return made


def table(target: Console, *headers: str) -> Table:
    """A table, ruled on a terminal only; a header that starts with > is right-aligned."""
    made = Table(box=box.SIMPLE_HEAD if target.is_terminal else None, pad_edge=False)
    for header in headers:
        right = header.startswith(">")
        made.add_column(header.lstrip(">"), justify="right" if right else "left", no_wrap=right)
    return made


def print_lines(target: Console, *lines: Table | str) -> None:
    """Print without trailing blanks; a terminal folds long lines, a pipe does not."""
    with target.capture() as captured:
        for line in lines:
            target.print(line, soft_wrap=isinstance(line, str) and not target.is_terminal)
    for line in captured.get().splitlines():
        print(line.rstrip())


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in GitHub's Markdown; a header that starts with > is right-aligned."""
    rules = ["---:" if header.startswith(">") else "---" for header in headers]
    lines = [[header.lstrip(">") for header in headers], rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
