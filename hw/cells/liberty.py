"""A standard-cell library, read from Liberty files: areas, pins, timing arcs.

The files are the user's. There may be several, and they may be gzipped. Cells are cut out of the
text, unused ones are dropped, and the rest is one library: as text for Yosys, and parsed for timing
(hw/cells/timer.py) and energy (hw/cells/internal_energy.py).

Units are those of ASAP7's files: ps, fF, V, pW, and so fJ. Files with other units are refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from tritloom.arch.errors import InputError

from .liberty_table import LookupTable, merge, table, templates
from .liberty_tree import cut, read_text, tree

# Cells that we do not use, and why.
EXCLUDED = {
    "SDF*": "scan flip-flops",
    "DFFL*": "flip-flops of the falling edge",
    "DFFASR*": "flip-flops with asynchronous set and reset",
    "DFFHQx*": "Yosys would take it for its Q, where an inverter behind DFFHQN is smaller",
    "D[HL]L*": "latches",
    "HB*": "delay cells",
    "CKINVDC*": "clock-tree inverters",
    "ICG*DC_*": "clock gates of the clock tree",
    "*[AO][IA]*33[123]*": "six to nine inputs: half of the library's text, never chosen here",
    "AO33[123]*": "six to nine inputs",
    "OA33[123]*": "six to nine inputs",
    "*322*": "seven inputs: text that is never used here",
    "TIE*": "constants",
}
# Names of cells whose drive strength is below 1.
HALF_DRIVE = "*xp*"

_UNITS = {
    "time_unit": "1ps",
    "voltage_unit": "1V",
    "leakage_power_unit": "1pW",
    "capacitive_load_unit": "1,ff",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Arc:
    """An arc from an input to an output: delays (ps) and slews (ps) of the output's two edges.

    Attributes
    ----------
    source, target : str
        Pins at both ends.
    inputs : tuple of int
        Edge of the input (0 rise, 1 fall, -1 either) that makes the output rise, and fall.
    delays, slews : (LookupTable, LookupTable)
        Tables for the rise and for the fall of the output.
    """

    source: str
    target: str
    inputs: tuple[int, int]
    delays: tuple[LookupTable, LookupTable]
    slews: tuple[LookupTable, LookupTable]


@dataclass(frozen=True, kw_only=True, eq=False)
class CellPin:
    """A signal pin of a cell.

    Attributes
    ----------
    output, clock : bool
        Whether the pin is an output, or a clock input.
    capacitance_ff : float
        Load that an input puts on its net; 0 for an output.
    function : str
        Expression of Verilog that an output computes; empty for flip-flops and inputs.
    setup : (LookupTable, LookupTable), optional
        Setup time (ps) of a rise and of a fall, over its slew and the clock's.
    """

    output: bool
    clock: bool
    capacitance_ff: float
    function: str
    setup: tuple[LookupTable, LookupTable] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """A cell of the library.

    Attributes
    ----------
    area_um2 : float
    leakage_pw : float
        Mean over the cell's states.
    kind : str
        `logic`, `flip-flop` (of the rising edge) or `clock gate`.
    inverting : bool
        Whether the cell is a flip-flop whose output is the complement of its input.
    """

    name: str
    area_um2: float
    leakage_pw: float
    kind: str
    inverting: bool
    pins: dict[str, CellPin]
    arcs: tuple[Arc, ...]

    @property
    def inputs(self) -> list[str]:
        """Names of the input pins."""
        return [name for name, pin in self.pins.items() if not pin.output]

    @property
    def outputs(self) -> list[str]:
        """Names of the output pins."""
        return [name for name, pin in self.pins.items() if pin.output]


@dataclass(frozen=True, kw_only=True, eq=False)
class Library:
    """Cells that a design may use.

    Attributes
    ----------
    voltage_v, temperature_c : float
    text : str
        Liberty text of these cells alone.
    """

    name: str
    voltage_v: float
    temperature_c: float
    cells: dict[str, Cell]
    text: str

    @property
    def has_power(self) -> bool:
        """Whether there are tables of internal energy."""
        return "internal_power" in self.text

    def find(self, pattern: str) -> Cell:
        """The smallest cell whose name matches a pattern; `InputError` where there is none."""
        fits = [cell for name, cell in self.cells.items() if fnmatch(name, pattern)]
        if not fits:
            raise InputError(f"the library has no cell {pattern}")
        return min(fits, key=lambda cell: (cell.area_um2, cell.name))


def read(files: Sequence[Path], *, without: Iterable[str] = ()) -> Library:
    """One library of the cells in some Liberty files, gzipped or not.

    Parameters
    ----------
    without : iterable of str
        Patterns of cells to leave out, besides `EXCLUDED`.

    Raises
    ------
    InputError
        A file cannot be read, is no Liberty, has other units, or repeats a cell.
    """
    dropped = (*EXCLUDED, *without)
    head = ""
    blocks: dict[str, str] = {}
    for file in files:
        text = read_text(file)
        own, cells = cut(text)
        if not cells or not re.search(r"^\s*library *\(", text, re.MULTILINE):
            raise InputError(f"{file} is no Liberty file with cells")
        head = head + _missing_templates(own, head) if head else own
        for name, block in cells:
            if not name:
                raise InputError(f"{file} has a cell without a name")
            if name in blocks:
                raise InputError(f"{file} has cell {name} again")
            blocks[name] = block
    kept = {
        name: block
        for name, block in blocks.items()
        if not any(fnmatch(name, pattern) for pattern in dropped)
    }
    if not kept:
        raise InputError(f"no cell of {_named(files)} is left to use")
    text = head + "".join(kept.values()) + "}\n"
    return _parse(text, files)


_TEMPLATE = re.compile(
    r"^ *(?:lu_table|power_lut)_template *\( *(\w+) *\) *\{[^}]*\}\n", re.MULTILINE
)


def _missing_templates(text: str, head: str) -> str:
    """Templates of tables in `text` that `head` lacks."""
    known = {match[1] for match in _TEMPLATE.finditer(head)}
    return "".join(match[0] for match in _TEMPLATE.finditer(text) if match[1] not in known)


def _parse(text, files) -> Library:
    try:
        root = tree(text)
        axes = templates(root)
    except (ValueError, IndexError) as error:
        raise InputError(f"{_named(files)} cannot be parsed: {error}") from None
    for unit, value in _UNITS.items():
        found = root.find(unit)
        stated = "" if found is None else (found.value or ",".join(found.args)).replace(" ", "")
        if stated.lower() != value.lower():
            raise InputError(f"{files[0]}: {unit} must be {value}, not {stated or 'missing'}")
    conditions = {}
    for name in ("nom_voltage", "nom_temperature"):
        try:
            conditions[name] = float(root.text(name))
        except ValueError:
            raise InputError(f"{files[0]} does not state {name}") from None
    cells = {}
    for child in root.each("cell"):
        name = " ".join(child.args)
        try:
            cells[name] = _cell(child, axes)
        except (ValueError, IndexError) as error:
            raise InputError(f"{_named(files)}: cell {name} cannot be parsed: {error}") from None
    return Library(
        name=root.args[0],
        voltage_v=conditions["nom_voltage"],
        temperature_c=conditions["nom_temperature"],
        cells=cells,
        text=text,
    )


def _named(files) -> str:
    return ", ".join(map(str, files))


_EDGES = {"positive_unate": (0, 1), "negative_unate": (1, 0)}


def _cell(node, templates) -> Cell:
    name = node.args[0]
    pins: dict[str, CellPin] = {}
    arcs: list[Arc] = []
    flip_flop = node.find("ff")
    gate = node.text("clock_gating_integrated_cell")
    for pin in node.each("pin"):
        pin_name = pin.args[0]
        output = pin.text("direction") == "output"
        if pin.text("direction") == "internal":
            continue
        pins[pin_name] = CellPin(
            output=output,
            clock=pin.text("clock") == "true" or pin.text("clock_gate_clock_pin") == "true",
            capacitance_ff=float(pin.text("capacitance", "0")),
            function=_verilog(pin.text("function")) if output and flip_flop is None else "",
            setup=_setup(pin, templates),
        )
        if output:
            arcs += _arcs(pin, pin_name, templates)
    inverting = flip_flop is not None and _inverting(node, flip_flop)
    return Cell(
        name=name,
        area_um2=float(node.text("area", "0")),
        leakage_pw=_leakage(node),
        kind="flip-flop" if flip_flop is not None else "clock gate" if gate else "logic",
        inverting=inverting,
        pins=pins,
        arcs=tuple(arcs),
    )


def _inverting(node, flip_flop) -> bool:
    """Whether the output of a flip-flop is the complement of its input."""
    state = flip_flop.args[0]
    stored = "!" in flip_flop.text("next_state")
    (function,) = (
        pin.text("function") for pin in node.each("pin") if pin.text("direction") == "output"
    )
    return stored != (function.strip("()") != state)


def _verilog(function: str) -> str:
    """A function of Liberty as an expression of Verilog."""
    return function.replace("!", "~").replace("*", "&").replace("+", "|")


def _leakage(node) -> float:
    """Leakage of a cell (pW): of each supply the unconditional value or the mean, added up."""
    by_supply = defaultdict(list)
    for group in node.each("leakage_power"):
        stated = bool(group.text("when"))
        by_supply[group.text("related_pg_pin")].append((stated, float(group.text("value"))))
    total = 0.0
    for values in by_supply.values():
        plain = [value for stated, value in values if not stated]
        total += float(np.mean(plain or [value for _, value in values]))
    return total or float(node.text("cell_leakage_power", "0"))


def _timings(pin, *types: str) -> Iterator:
    for group in pin.each("timing"):
        if group.text("timing_type", "combinational") in types:
            yield group


def _setup(pin, templates) -> tuple[LookupTable, LookupTable] | None:
    edges: tuple[list[LookupTable], list[LookupTable]] = ([], [])
    for group in _timings(pin, "setup_rising"):
        for tables, edge in zip(edges, ("rise_constraint", "fall_constraint"), strict=True):
            if (node := group.find(edge)) is not None:
                tables.append(table(node, templates))
    rises, falls = edges
    return (merge(rises, np.max), merge(falls, np.max)) if rises and falls else None


def _arcs(pin, name, templates) -> Iterator[Arc]:
    """Arcs to an output, for each input and pair of edges the worst over conditions."""
    found: defaultdict = defaultdict(lambda: ([], [], [], []))
    # A clock gate's output follows its clock, whose edge is all that matters here.
    for group in _timings(pin, "combinational", "rising_edge"):
        edge = group.text("timing_type", "combinational") == "rising_edge"
        sense = (0, 0) if edge else _EDGES.get(group.text("timing_sense"), (-1, -1))
        tables = found[group.text("related_pin"), sense]
        kinds = ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
        for collected, kind in zip(tables, kinds, strict=True):
            if (node := group.find(kind)) is not None:
                collected.append(table(node, templates))
    for (source, sense), tables in found.items():
        # Where conditions tell an edge's cause, the arc that says "either" is their worst.
        told = any(other == source and edges != sense for other, edges in found)
        if all(tables) and not (sense == (-1, -1) and told):
            rise, fall, rise_slew, fall_slew = (merge(part, np.max) for part in tables)
            yield Arc(
                source=source,
                target=name,
                inputs=sense,
                delays=(rise, fall),
                slews=(rise_slew, fall_slew),
            )


def verilog_models(library: Library, names: Iterable[str]) -> str:
    """Verilog modules of some cells: their functions, without delays."""
    return "".join(_model(library.cells[name]) for name in sorted(set(names)))


def _model(cell: Cell) -> str:
    ports = ", ".join(
        f"{'output' if pin.output else 'input'} {name}" for name, pin in cell.pins.items()
    )
    if cell.kind == "logic":
        body = "".join(
            f"  assign {name} = {pin.function};\n" for name, pin in cell.pins.items() if pin.output
        )
    elif cell.kind == "flip-flop":
        (output,) = cell.outputs
        (clock,) = (name for name in cell.inputs if cell.pins[name].clock)
        (data,) = (name for name in cell.inputs if not cell.pins[name].clock)
        # Every design here starts from zero, as its RTL does.
        body = (
            "  reg state = 0;\n"
            f"  always @(posedge {clock}) state <= {data};\n"
            f"  assign {output} = {'~' if cell.inverting else ''}state;\n"
        )
    else:
        (output,) = cell.outputs
        (clock,) = (name for name in cell.inputs if cell.pins[name].clock)
        enables = " | ".join(name for name in cell.inputs if not cell.pins[name].clock)
        body = (
            "  reg enable = 0;\n"
            f"  always @({clock} or {' or '.join(enables.split(' | '))})\n"
            f"    if (!{clock}) enable = {enables};\n"
            f"  assign {output} = enable & {clock};\n"
        )
    return f"module {cell.name}({ports});\n{body}endmodule\n"
