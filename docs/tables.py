"""Directives of the book that make tables of this project's own data when it is built.

`costs`, `sources` and `ports` take no content: each is a page's only way to its figures, so none is
copied by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tritloom.arch.config import preset
from tritloom.arch.ports import core_ports
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.table import CostTable, estimates, load_costs

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


def cost_tables() -> list[CostTable]:
    """Every cost table that ships, and the estimates for what they leave out."""
    names = sorted(p.stem.removeprefix("costs_") for p in datafile.DATA.glob("costs_*.yaml"))
    return [*map(load_costs, names), estimates()]


def cost_rows(costs: CostTable) -> list[list[str]]:
    """What actions cost: the values of the file, digit for digit as Python prints them."""
    return [
        [
            action,
            *(f"{value:g}" for value in (cost.low, cost.nominal, cost.high)),
            cost.unit,
            cost.tier,
            " ".join(cost.source.split()),
        ]
        for action, cost in costs.entries.items()
    ]


def sources() -> dict[str, list[str]]:
    """Every source that a data file states, and the files that state it."""
    found: dict[str, list[str]] = {}
    for path in sorted(datafile.DATA.rglob("*.yaml")):
        for source in _sources(datafile.read_yaml(path)):
            files = found.setdefault(source, [])
            name = path.relative_to(datafile.DATA).as_posix()
            if name not in files:
                files.append(name)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _sources(content: object) -> Iterator[str]:
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == "source":
            yield " ".join(value.split())
        else:
            yield from _sources(value)
    for value in content if isinstance(content, list) else ():
        yield from _sources(value)


class Costs(SphinxDirective):
    """A section for each cost table."""

    def run(self) -> list[nodes.Node]:
        """The sections, after a note of the table where it has one."""
        sections = []
        for costs in cost_tables():
            section = nodes.section(ids=[f"costs-{costs.name}"], names=[f"costs-{costs.name}"])
            section += nodes.title(text=f"{costs.name}: {costs.node}")
            if costs.note:
                section += nodes.paragraph(text=f"Note in reports: {costs.note}.")
            head = ["action", "low", "nominal", "high", "unit", "tier", "source"]
            section += table(head, cost_rows(costs))
            sections.append(section)
        return sections


class Sources(SphinxDirective):
    """A list of all sources."""

    def run(self) -> list[nodes.Node]:
        """The list, each with its files."""
        items = nodes.bullet_list()
        for source, files in sources().items():
            said = nodes.paragraph("", "", nodes.Text(f"{source} "))
            for name in files:
                said += [nodes.literal(text=name), nodes.Text(" ")]
            items += nodes.list_item("", said)
        return [items]


class Ports(SphinxDirective):
    """The core's ports."""

    def run(self) -> list[nodes.Node]:
        """The table, of `PRESET`."""
        rows = [[p.name, p.direction, str(p.width), p.what] for p in core_ports(preset(PRESET))]
        return [table(["port", "direction", f"bits in {PRESET}", "what"], rows)]


def setup(app) -> dict:
    """Tell Sphinx of the directives."""
    for directive in (Costs, Sources, Ports):
        app.add_directive(directive.__name__.lower(), directive)
    return {"parallel_read_safe": True}
