"""The directive `ports`, which makes a table of the core's ports when the book is built."""

from __future__ import annotations

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tritloom.arch.config import preset
from tritloom.arch.ports import core_ports

# The preset whose widths `ports` shows.
PRESET = "base"


def table(head: list[str], rows: list[list[str]]) -> nodes.table:
    """A table of plain text; names of code in its first column."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row(map(nodes.Text, head)))
    body = nodes.tbody()
    for first, *rest in rows:
        body += _row([nodes.literal(text=first), *map(nodes.Text, rest)])
    group += body
    return nodes.table("", group, classes=["colwidths-auto"])


def _row(cells) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


class Ports(SphinxDirective):
    """The core's ports."""

    def run(self) -> list[nodes.Node]:
        """The table, of `PRESET`."""
        rows = [[p.name, p.direction, str(p.width), p.what] for p in core_ports(preset(PRESET))]
        return [table(["port", "direction", f"bits in {PRESET}", "what"], rows)]


def setup(app) -> dict:
    """Tell Sphinx of the directive."""
    app.add_directive("ports", Ports)
    return {"parallel_read_safe": True}
