"""Tables on standard output: ruled on a terminal, plain in a pipe, as Markdown, or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table


class Paper(Console):
    """A console that changes nothing in what it prints, and whether its tables are Markdown."""

    def __init__(self, *, markdown: bool = False):
        super().__init__(highlight=False, markup=False, emoji=False)
        self.markdown = markdown
        if not self.is_terminal or markdown:
            self.width = 400  # a pipe has no width: do not fold cells


def table(
    paper: Paper, *headers: str, rows: Iterable[Sequence[str]] = (), style: str | None = None
) -> Table:
    """A table, ruled on a terminal only; a header that starts with > is right-aligned."""
    look = box.SIMPLE_HEAD if paper.is_terminal else None
    look = box.MARKDOWN if paper.markdown else look
    made = Table(box=look, pad_edge=paper.markdown)
    for header in headers:
        right = header.startswith(">")
        made.add_column(header.lstrip(">"), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        made.add_row(*row, style=style)
    return made


def end_section(made: Table) -> None:
    """A rule below the rows so far; Markdown has none."""
    if made.box is not box.MARKDOWN:
        made.add_section()


def print_lines(paper: Paper, *lines: Table | str) -> None:
    """Print without trailing blanks; a terminal folds long lines, a pipe does not."""
    for line in lines:
        with paper.capture() as captured:
            paper.print(line, soft_wrap=isinstance(line, str) and not paper.is_terminal)
        printed = captured.get().splitlines()
        if paper.markdown and isinstance(line, Table):
            printed = printed[1:-1]  # its edges are blank
        for text in printed:
            print(text.rstrip())


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in GitHub's Markdown; a header that starts with > is right-aligned."""
    rules = ["---:" if header.startswith(">") else "---" for header in headers]
    lines = [[header.lstrip(">") for header in headers], rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_text(fields: Iterable[str], lines: Iterable[Mapping]) -> str:
    """CSV with a header, without the last line's end; a field that a line has not is empty."""
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().rstrip("\n")
