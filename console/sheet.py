"""The only printer of tables: for a terminal or a pipe, as Markdown, HTML, CSV and JSON.

A command builds a `Sheet` and calls `show`; it never asks for which form.
"""

from __future__ import annotations

import csv
import html
import io
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# What `--format` may be. HTML is for pages that a command writes, not for standard output.
FORMS = ("table", "json", "csv", "markdown")
# Columns of a pipe, which has no width: cells are not folded there.
_PIPE_WIDTH = 10_000


class Bold(tuple):
    """A row of a table that stands out."""


# Ends a group of rows with a rule, where the form has rules.
RULE: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under headers.

    Attributes
    ----------
    headers : sequence of str
        One that starts with > is right-aligned.
    rows : sequence of sequence of str
        Each with a cell for every header; `Bold` ones stand out, `RULE` draws a rule.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def cells(self) -> list[Sequence[str]]:
        """The rows without the rules between them."""
        return [row for row in self.rows if row]


@dataclass(frozen=True)
class Heading:
    """A line above a table: a heading in Markdown and HTML."""

    text: str


@dataclass(frozen=True)
class Notes:
    """Lines below a table: a list in Markdown and HTML."""

    lines: Sequence[str]


Part = str | Heading | Table | Notes


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What a command says: for readers in parts, for programs as data.

    Attributes
    ----------
    parts : sequence of str, Heading, Table or Notes
        From top to bottom; a str is a line of text, "" an empty line.
    records : sequence of dict
        The lines of the CSV.
    fields : sequence of str, optional
        Columns of the CSV; those of the first record by default.
    data : optional
        What JSON holds; the records by default.
    width : int, optional
        Columns at which text and notes are folded, to go with tables of that width; by default
        only a terminal folds them, at its own.
    """

    parts: Sequence[Part]
    records: Sequence[Mapping] = ()
    fields: Sequence[str] | None = None
    data: object = None
    width: int | None = None


def show(sheet: Sheet, form: str = "table") -> None:
    """Print a sheet in one of `FORMS`; tables fit the terminal, or have no width in a pipe."""
    if form == "table":
        _print(sheet)
    else:
        print(render(sheet, form))


def render(sheet: Sheet, form: str) -> str:
    """A sheet as text in "markdown", "html", "json" or "csv", without the last line's end."""
    if form == "json":
        data = list(sheet.records) if sheet.data is None else sheet.data
        return json.dumps(data, indent=2, allow_nan=False)
    if form == "csv":
        return csv_text(sheet.fields or list(sheet.records[0]), sheet.records)
    block = {"markdown": _markdown, "html": _html}[form]
    return "\n\n".join(block(part) for part in sheet.parts if part != "")


def csv_text(fields: Iterable[str], lines: Iterable[Mapping]) -> str:
    """CSV with a header, without the last line's end; a field that a line has not is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().rstrip("\n")


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's Markdown; a header that starts with > is right-aligned."""
    rules = ["---:" if header.startswith(">") else "---" for header in headers]
    lines = [[header.removeprefix(">") for header in headers], rules, *rows]
    return "\n".join(f"| {' | '.join(_piped(cell) for cell in line)} |" for line in lines)


def html_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in HTML; cells of a header that starts with > have the class `number`.

    Blanks around a cell are left out: the page's style indents what is not `bold`.
    """
    numbers = [header.startswith(">") for header in headers]

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{_class('number' if number else '')}>{html.escape(cell.strip())}</{tag}>"
            for cell, number in zip(cells, numbers, strict=True)
        )

    head = line("th", [header.removeprefix(">") for header in headers])
    body = "\n".join(
        f"<tr{_class('bold' if isinstance(row, Bold) else '')}>{line('td', row)}</tr>"
        for row in rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _piped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _markdown(part: Part) -> str:
    if isinstance(part, Table):
        return markdown_table(part.headers, part.cells)
    if isinstance(part, Heading):
        return f"## {part.text}"
    if isinstance(part, Notes):
        return "\n".join(f"- {line}" for line in part.lines)
    return part


def _html(part: Part) -> str:
    if isinstance(part, Table):
        return html_table(part.headers, part.cells)
    if isinstance(part, Heading):
        return f"<h2>{html.escape(part.text)}</h2>"
    if isinstance(part, Notes):
        items = "\n".join(f"<li>{html.escape(line)}</li>" for line in part.lines)
        return f"<ul>\n{items}\n</ul>"
    return f"<p>{html.escape(part)}</p>"


def _print(sheet: Sheet) -> None:
    """Print without trailing blanks; a terminal folds long lines, a pipe does not."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Ruled

    console = Console(highlight=False, markup=False, emoji=False)
    terminal = console.is_terminal
    if not terminal:
        console.width = _PIPE_WIDTH
    for part in sheet.parts:
        if isinstance(part, Table):
            made = Ruled(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
            for header in part.headers:
                right = header.startswith(">")
                made.add_column(
                    header.removeprefix(">"), justify="right" if right else "left", no_wrap=right
                )
            for row in part.rows:
                if row:
                    made.add_row(*row, style="bold" if isinstance(row, Bold) else None)
                else:
                    made.add_section()
            shown: list = [made]
        elif isinstance(part, Notes):
            shown = list(part.lines)
        else:
            shown = [part.text if isinstance(part, Heading) else part]
        if sheet.width and isinstance(part, str | Notes):
            shown = [line for text in shown for line in textwrap.wrap(text, sheet.width) or [""]]
        for one in shown:
            with console.capture() as captured:
                console.print(one, soft_wrap=isinstance(one, str) and not terminal)
            for text in captured.get().splitlines() or [""]:
                print(text.rstrip())
