"""Tables of this project's own data and code, as Markdown in the pages of the book.

    python docs/generated.py

rewrites them. tests/docs/test_book.py fails where a page differs from what this would write, so no
figure is copied by hand, and a code host shows what the book shows.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import tritloom
from tritloom.arch import layout, ternary, timing
from tritloom.arch.config import preset
from tritloom.arch.ports import core_ports
from tritloom.arch.ternary import Packing
from tritloom.console.sheet import markdown_table
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.table import CostTable, estimates, load_costs
from tritloom.sim.golden import linear, quantise

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# The preset whose widths the table of ports shows.
PRESET = "base"
# A value has no docstring.
VALUES = {
    "PRESETS": "The presets by name, each an `ArrayConfig`.",
    "TRIT2": "The packing of four trits in a byte.",
    "TRIT5": "The packing of five trits in a byte, coded for a small decoder.",
}


def names() -> str:
    """Every public name, the module that holds it, and the first line of its docstring."""
    return markdown_table(
        ["name", "home", "what"],
        [
            [
                f"`{name}`" if name in VALUES else f"[`{name}`](#{name.lower()})",
                f"`{tritloom._HOME[name]}`",
                VALUES.get(name) or _first_line(name),
            ]
            for name in tritloom.__all__
        ],
    )


def _first_line(name: str) -> str:
    return inspect.getdoc(getattr(tritloom, name)).partition("\n")[0]


def reference() -> str:
    """A section for each public function and class, as its docstring describes it."""
    sections = []
    for name in tritloom.__all__:
        if name not in VALUES:
            value = getattr(tritloom, name)
            call = f"**`{name}{_shown(inspect.signature(value))}`**"
            sections.append(f"### {name}\n\n{call}\n\n{_described(inspect.getdoc(value))}")
    return "\n\n".join(sections)


def rooms() -> str:
    """Every room from the top floor down, with the first line of what its docstring says."""
    rows = []
    floors = list(enumerate(_floors()))
    for number, floor in reversed(floors):
        for name in sorted(floor):
            path = Path(*name.split("."))
            folder = (ROOT / path).is_dir()
            file = path / "__init__.py" if folder else path.with_suffix(".py")
            docstring = ast.get_docstring(ast.parse((ROOT / file).read_text()))
            shown = f"{path.as_posix()}/" if folder else file.as_posix()
            rows.append([str(number), f"`{shown}`", docstring.partition("\n")[0]])
    return markdown_table([">floor", "room", "holds"], rows)


def _floors() -> list[set[str]]:
    """Rooms floor by floor from the ground up, as the test of imports holds them."""
    tree = ast.parse((ROOT / "tests/test_imports.py").read_text())
    (floors,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "FLOORS"
    )
    return floors


def cost_tables() -> list[CostTable]:
    """Every cost table that ships, and the estimates for what they leave out."""
    found = sorted(p.stem.removeprefix("costs_") for p in datafile.DATA.glob("costs_*.yaml"))
    return [*map(load_costs, found), estimates()]


def costs() -> str:
    """A section for each cost table, after its note where it has one."""
    head = ["action", ">low", ">nominal", ">high", "unit", "tier", "source"]
    sections = []
    for table in cost_tables():
        sections.append(f"## {table.name}: {table.node}")
        if table.note:
            sections.append(f"Note in reports: {table.note}.")
        sections.append(markdown_table(head, _cost_rows(table)))
    return "\n\n".join(sections)


def _cost_rows(table: CostTable) -> list[list[str]]:
    """What actions cost: the values of the file, digit for digit as Python prints them."""
    return [
        [
            f"`{action}`",
            *(f"{value:g}" for value in (cost.low, cost.nominal, cost.high)),
            cost.unit,
            cost.tier,
            " ".join(cost.source.split()),
        ]
        for action, cost in table.entries.items()
    ]


def sources() -> str:
    """Every source that a data file states, and the files that state it."""
    found: dict[str, list[str]] = {}
    for path in sorted(datafile.DATA.rglob("*.yaml")):
        for source in _sources(datafile.read_yaml(path)):
            files = found.setdefault(source, [])
            name = f"`{path.relative_to(datafile.DATA).as_posix()}`"
            if name not in files:
                files.append(name)
    return markdown_table(
        ["source", "files"],
        [[source, ", ".join(found[source])] for source in sorted(found, key=str.lower)],
    )


def _sources(content: object) -> Iterator[str]:
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == "source":
            yield " ".join(value.split())
        else:
            yield from _sources(value)
    for value in content if isinstance(content, list) else ():
        yield from _sources(value)


# A simple table of reStructuredText: a rule, the head, a rule, the rows, a rule.
_RULE = r"=+(?: +=+)+"
_TABLE = re.compile(rf"^{_RULE}\n(.*)\n{_RULE}\n((?:.*\n)*?){_RULE}$", re.MULTILINE)


def prose(module: ModuleType) -> str:
    """The docstring of a module without its first line, its table in Markdown."""
    text = inspect.cleandoc(module.__doc__ or "").partition("\n\n")[2]
    return _TABLE.sub(lambda table: _markdown(*table.groups()), text)


def _markdown(head: str, rows: str) -> str:
    """A table of Markdown from the head and the rows of one of reStructuredText."""
    cells = [re.split(r" {2,}", line) for line in (head, *rows.splitlines())]
    return markdown_table(cells[0], cells[1:])


def functions(*wanted: Callable) -> str:
    """A table of functions: how they are called, and the first line of each docstring."""
    rows = []
    for function in wanted:
        said = inspect.cleandoc(function.__doc__ or "").splitlines()[0]
        rows.append([f"`{function.__name__}{_shown(inspect.signature(function))}`", said])
    return markdown_table(["function", "result"], rows)


def ports() -> str:
    """A table of the core's ports."""
    rows = [
        [f"`{port.name}`", port.direction, str(port.width), port.what]
        for port in core_ports(preset(PRESET))
    ]
    return markdown_table(["port", "direction", f">bits in {PRESET}", "what"], rows)


class _Default:
    """A default value as a reader would type it: an enumeration's text, no folder's own path."""

    def __init__(self, value: object):
        self.value = value

    def __repr__(self) -> str:
        if isinstance(self.value, Path):
            return "..."
        if isinstance(self.value, Packing):
            return self.value.name.upper()
        return repr(self.value.value if isinstance(self.value, enum.Enum) else self.value)


def _shown(signature: inspect.Signature) -> str:
    """A signature without types, which the text states."""
    plain = [
        p.replace(
            annotation=p.empty, default=p.empty if p.default is p.empty else _Default(p.default)
        )
        for p in signature.parameters.values()
    ]
    return str(inspect.Signature(plain))


def _described(docstring: str) -> str:
    """A docstring with NumPy sections as Markdown: entries of a section as a list."""
    text, *sections = re.split(r"\n\n(\w+)\n-+(?:\n|$)", docstring)
    parts = [_escaped(text)]
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        parts.append(f"**{heading}**")
        if heading == "Notes":
            parts.append(_escaped(body))
            continue
        entries = re.findall(r"^(\S.*)\n?((?:(?:[ ]+.*)?\n?)*)", body, re.MULTILINE)
        parts.append("\n".join(_entry(*entry) for entry in entries))
    return "\n\n".join(parts)


def _entry(head: str, text: str) -> str:
    name, _, kind = head.partition(" : ")
    line = f"- `{name}`{f', {_escaped(kind)}' if kind else ''}"
    said = " ".join(text.split())
    return f"{line}: {_escaped(said)}" if said else line


def _escaped(text: str) -> str:
    """A text whose marks mean themselves, but for its code in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if number % 2 else re.sub(r"([*<])", r"\\\1", part)
        for number, part in enumerate(parts)
    )


# The tables by the name in the comment that opens each.
TABLES: dict[str, Callable[[], str]] = {
    "names": names,
    "reference": reference,
    "rooms": rooms,
    "costs": costs,
    "sources": sources,
    "packings": lambda: prose(ternary),
    "quantisation": lambda: (
        prose(quantise)
        + "\n\n"
        + functions(
            quantise.absmean_trits, quantise.sign_trits, quantise.to_trits, quantise.absmax_acts
        )
    ),
    "product": lambda: functions(
        linear.ternary_gemm, linear.exact_float, linear.rescale, linear.bit_linear
    ),
    "ports": ports,
    "stream": lambda: (
        prose(layout)
        + "\n\n"
        + functions(
            layout.beat_bytes,
            layout.pass_beats,
            layout.pass_cycles,
            layout.pack_pass,
            layout.unpack_pass,
        )
    ),
    "cycles": lambda: functions(
        timing.skew,
        timing.drain_latency,
        timing.tile_period,
        timing.drain_gap,
        timing.preload,
        timing.weight_stationary_period,
        timing.pass_latency,
        timing.gemm_cycles,
        timing.core_cycles,
        timing.queue_cycles,
        timing.utilisation,
    ),
}
_PART = re.compile(
    r"^<!-- (\w+): generated by `python docs/generated\.py`; do not edit -->\n.*?^<!-- end -->$",
    re.MULTILINE | re.DOTALL,
)


def opened(text: str) -> list[str]:
    """The names of the tables in the text of a page."""
    return [found[1] for found in _PART.finditer(text)]


def filled(text: str) -> str:
    """The text of a page with every table as it should be."""

    def part(found: re.Match) -> str:
        opening = found[0].partition("\n")[0]
        return f"{opening}\n\n{TABLES[found[1]]()}\n\n<!-- end -->"

    return _PART.sub(part, text)


def main() -> None:
    """Rewrite the pages whose tables have changed, and say which."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        if (new := filled(text)) != text:
            path.write_text(new)
            print(path)


if __name__ == "__main__":
    main()
