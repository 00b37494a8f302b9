"""Internal energy of cells, from their Liberty tables: energy beyond the charge of nets.

Each group of tables is there once for the supply and once for ground. Over a rise and a fall both
are the same charge, on its way in and out; so the supply's alone is counted.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tritloom.arch.errors import InputError

from . import liberty_table, liberty_tree
from .liberty import Library
from .liberty_table import LookupTable

Edges = tuple[LookupTable, LookupTable]


@dataclass(frozen=True, kw_only=True, eq=False)
class CellEnergy:
    """Energies (fJ) of a rise and of a fall of a cell's pins; conditions are averaged.

    Attributes
    ----------
    caused : dict of (str, str) to (LookupTable, LookupTable)
        Energy of an output's edges, by (output, input that causes the edge).
    hidden : dict of str to (LookupTable, LookupTable)
        Energy of an input's edges that no output follows. For a flip-flop's clock, while the
        flip-flop already holds what is at its data input; for the data, while the clock is low.
    """

    caused: dict[tuple[str, str], Edges]
    hidden: dict[str, Edges]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    pin: str
    related: str
    when: str
    ground: bool
    rise: LookupTable | None
    fall: LookupTable | None


def internal_energy(
    library: Library, names: Iterable[str], *, ground: bool = False
) -> dict[str, CellEnergy]:
    """Energy tables of some cells, for the supply or for ground.

    Raises
    ------
    InputError
        The library's tables cannot be read.
    """
    names = tuple(sorted(set(names)))
    try:
        parsed = _groups(library, names)
        return {
            name: _energy(library.cells[name], [g for g in parsed[name] if g.ground == ground])
            for name in names
        }
    except (ValueError, IndexError) as error:
        raise InputError(
            f"library {library.name}: internal energy cannot be parsed: {error}"
        ) from None


def _energy(cell, groups) -> CellEnergy:
    gathered = defaultdict(list)
    for group in groups:
        gathered[group.pin, group.related].append(group)
    caused, hidden = {}, {}
    for (pin, related), members in gathered.items():
        if not cell.pins[pin].output and cell.kind == "flip-flop":
            members = _at_rest(cell, pin, members)
        rises = [group.rise for group in members if group.rise is not None]
        falls = [group.fall for group in members if group.fall is not None]
        if not (rises and falls):
            continue
        rise, fall = (liberty_table.merge(_applicable(each), np.mean) for each in (rises, falls))
        merged = rise, fall
        if cell.pins[pin].output:
            caused[pin, related] = merged
        else:
            hidden[pin] = merged
    return CellEnergy(caused=caused, hidden=hidden)


def _applicable(tables: list[LookupTable]) -> list[LookupTable]:
    """Tables without the single zeros that stand for an edge which a condition excludes."""
    return [table for table in tables if table.values.size > 1] or tables


def _at_rest(cell, pin, members):
    """The conditions of a flip-flop that are averaged, as `CellEnergy.hidden` says."""
    if cell.pins[pin].clock:
        # A rise that the output follows is counted there.
        chosen = [g for g in members if g.rise is not None and g.rise.values.any()]
    else:
        (clock,) = (name for name in cell.inputs if cell.pins[name].clock)
        chosen = [g for g in members if re.sub(r"[()\s]", "", g.when) in (f"!{clock}", f"{clock}'")]
    return chosen or members


# Supply and ground, and each activity of a netlist, ask for the same cells.
@functools.lru_cache(maxsize=4)
def _groups(library, names) -> dict[str, list[_Group]]:
    head, cells = liberty_tree.cut(library.text)
    kept = (text for name, text in cells if name in names)
    root = liberty_tree.tree("".join([head, *kept, "}\n"]))
    templates = liberty_table.templates(root)
    return {cell.args[0]: list(_cell_groups(cell, templates)) for cell in root.each("cell")}


def _cell_groups(cell, templates):
    grounds = {
        rail.args[0] for rail in cell.each("pg_pin") if rail.text("pg_type").endswith("ground")
    }
    for pin in cell.each("pin"):
        if pin.text("direction") == "internal":
            continue
        for group in pin.each("internal_power"):
            nodes = [
                group.find(f"{edge}_power") or group.find("power") for edge in ("rise", "fall")
            ]
            rise, fall = (node and liberty_table.table(node, templates) for node in nodes)
            yield _Group(
                pin=pin.args[0],
                related=group.text("related_pin"),
                when=group.text("when"),
                ground=group.text("related_pg_pin") in grounds,
                rise=rise,
                fall=fall,
            )
