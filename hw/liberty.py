"""A standard-cell library: what its Liberty files say of area, timing and energy.

The files are the user's. They may be several, and gzipped. Cells are cut out of the text, those
that no use is made of are dropped, and the rest is one library: as text for Yosys, and parsed for
timing (hw/mapped.py) and energy (sim/power.py).

Units are those of the files that we know, ASAP7's: ps, fF, V, pW, and so fJ. Others are refused.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import numpy as np

from arch.errors import InputError

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
    "AO33[123]*": "the same",
    "OA33[123]*": "the same",
    "*322*": "the same",
    "TIE*": "constants",
}
# Drive strengths below 1.
HALF_DRIVE = "*xp*"

_UNITS = {
    "time_unit": "1ps",
    "voltage_unit": "1V",
    "leakage_power_unit": "1pW",
    "capacitive_load_unit": "1,ff",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A value over input slew (ps) and output load (fF), or over one of them, or a constant."""

    slews: np.ndarray
    loads: np.ndarray
    values: np.ndarray

    def at(self, slew, load):
        """Interpolated, beyond the table extrapolated; arrays of one shape or numbers."""
        i, u = _place(self.slews, slew)
        j, v = _place(self.loads, load)
        values = self.values
        if len(self.loads) == 1:
            v = 0.0
            right = j
        else:
            right = j + 1
        down = i if len(self.slews) == 1 else i + 1
        upper = values[i, j] * (1 - v) + values[i, right] * v
        lower = values[down, j] * (1 - v) + values[down, right] * v
        return upper * (1 - u) + lower * u


def _place(axis, value):
    """Index of the interval of an axis, and how far into it."""
    if len(axis) == 1:
        return np.zeros(np.shape(value), int), 0.0
    index = np.clip(np.searchsorted(axis, value) - 1, 0, len(axis) - 2)
    return index, (value - axis[index]) / (axis[index + 1] - axis[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class Arc:
    """From an input to an output: delay (ps) and slew (ps) of its rise and its fall.

    Attributes
    ----------
    inputs : tuple of int
        For the output's rise and fall: the edge of the input (0 rise, 1 fall), -1 either.
    """

    source: str
    target: str
    inputs: tuple[int, int]
    delays: tuple[Table, Table]
    slews: tuple[Table, Table]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pin:
    """A signal pin.

    Attributes
    ----------
    capacitance_ff : float
        Of an input.
    function : str
        Of an output, as Verilog; empty for that of a flip-flop or clock gate.
    setup : (Table, Table), optional
        Setup time (ps) of a rise and of a fall, over its slew and the clock's.
    """

    output: bool
    clock: bool
    capacitance_ff: float
    function: str
    setup: tuple[Table, Table] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """A cell.

    Attributes
    ----------
    leakage_pw : float
        Mean over its states.
    kind : str
        `logic`, `flip-flop` (of the rising edge) or `clock gate`.
    inverting : bool
        Of a flip-flop: its output is its input's complement.
    """

    name: str
    area_um2: float
    leakage_pw: float
    kind: str
    inverting: bool
    pins: dict[str, Pin]
    arcs: tuple[Arc, ...]

    @property
    def inputs(self) -> list[str]:
        """Names of its input pins."""
        return [name for name, pin in self.pins.items() if not pin.output]

    @property
    def outputs(self) -> list[str]:
        """Names of its output pins."""
        return [name for name, pin in self.pins.items() if pin.output]


@dataclass(frozen=True, kw_only=True, eq=False)
class Library:
    """Cells that a design may use.

    Attributes
    ----------
    voltage_v, temperature_c : float
    text : str
        Liberty, of these cells alone.
    has_power : bool
        The files have tables of internal energy.
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
        """The smallest cell whose name fits; `InputError` where there is none."""
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
    head, blocks = None, {}
    for file in files:
        text = read_text(file)
        starts = [match.start() for match in re.finditer(r"^[ \t]*cell *\(", text, re.MULTILINE)]
        if not starts or not re.search(r"^\s*library *\(", text, re.MULTILINE):
            raise InputError(f"{file} is no Liberty file with cells")
        own = text[: starts[0]]
        head = own if head is None else head + _missing_templates(own, head)
        starts.append(text.rstrip().rfind("}"))
        for start, end in pairwise(starts):
            block = text[start:end]
            name = re.match(r"\s*cell *\( *\"?(\w+)", block)[1]
            if name in blocks:
                raise InputError(f"{file} has cell {name} again")
            blocks[name] = block
    kept = {
        name: block
        for name, block in blocks.items()
        if not any(fnmatch(name, pattern) for pattern in dropped)
    }
    if not kept:
        raise InputError(f"no cell of {', '.join(map(str, files))} is left to use")
    text = head + "".join(kept.values()) + "}\n"
    return _parse(text, files)


_TEMPLATE = re.compile(
    r"^ *(?:lu_table|power_lut)_template *\( *(\w+) *\) *\{[^}]*\}\n", re.MULTILINE
)


def _missing_templates(text: str, head: str) -> str:
    """Templates of tables in `text` that `head` lacks."""
    known = {match[1] for match in _TEMPLATE.finditer(head)}
    return "".join(match[0] for match in _TEMPLATE.finditer(text) if match[1] not in known)


def read_text(file: Path) -> str:
    """Of a file, gzipped or not; `InputError` where it cannot be read."""
    try:
        content = file.read_bytes()
        return (gzip.decompress(content) if file.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None


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
        return next(children(self, name), None)


def tree(text: str) -> Node:
    """The group that is the library; ValueError where the text is no Liberty.

    A parser of our own: those on PyPI are of another licence than ours, or of some Pythons only.
    """
    root = Node("", [], "", [])
    # Groups that are open, and the words of the statement that is under way.
    stack, words, args, inside, colon = [root], [], None, False, False
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
        elif sign == "{":
            group = Node(words[0], args or [], "", [])
            stack[-1].children.append(group)
            stack.append(group)
            words, args, colon = [], None, False
        else:
            if words:
                value = " ".join(words[1:]) if colon else ""
                stack[-1].children.append(Node(words[0], args or [], value, []))
            words, args, colon = [], None, False
            if sign == "}":
                stack.pop()
    if len(stack) != 1 or not root.children:
        raise ValueError("braces do not match")
    return root.children[0]


def _parse(text, files) -> Library:
    try:
        root = tree(text)
    except (ValueError, IndexError) as error:
        raise InputError(f"{files[0]} cannot be parsed: {error}") from None
    for unit, value in _UNITS.items():
        found = root.find(unit)
        stated = "" if found is None else (found.value or ",".join(found.args)).replace(" ", "")
        if stated.lower() != value.lower():
            raise InputError(f"{files[0]}: {unit} must be {value}, not {stated or 'missing'}")
    conditions = {}
    for name in ("nom_voltage", "nom_temperature"):
        if (found := root.find(name)) is None:
            raise InputError(f"{files[0]} does not state {name}")
        conditions[name] = float(found.value)
    templates = {
        child.args[0]: axes(child)
        for child in root.children
        if child.id in ("lu_table_template", "power_lut_template")
    }
    cells = (_cell(child, templates) for child in root.children if child.id == "cell")
    return Library(
        name=root.args[0],
        voltage_v=conditions["nom_voltage"],
        temperature_c=conditions["nom_temperature"],
        cells={cell.name: cell for cell in cells},
        text=text,
    )


def children(node: Node, name: str) -> Iterator[Node]:
    """Those of its children that have this name."""
    return (child for child in node.children if child.id == name)


def value(node: Node, name: str, default: str = "") -> str:
    """Of an attribute."""
    found = node.find(name)
    return default if found is None else found.value


def _numbers(args) -> list[float]:
    return [float(number) for arg in args for number in arg.replace(",", " ").split()]


def axes(node) -> dict[str, list[float]]:
    """Variable -> its values, of a template."""
    axes = {}
    for index in (1, 2):
        variable = value(node, f"variable_{index}")
        values = node.find(f"index_{index}")
        if variable and values is not None:
            axes[variable] = _numbers(values.args)
    return axes


# Variables that stand for the slew of the pin itself; a constraint's second axis is the clock's.
_SLEWS = ("input_net_transition", "input_transition_time", "constrained_pin_transition")


def table(node: Node, templates: dict[str, dict[str, list[float]]]) -> Table:
    """A table, by the axes of its template or its own."""
    template = templates.get(node.args[0], {}) if len(node.args) else {}
    axes = dict(template)
    for index, variable in enumerate(template, start=1):
        if (own := node.find(f"index_{index}")) is not None:
            axes[variable] = _numbers(own.args)
    values = np.array(_numbers(node.find("values").args))
    values = values.reshape([len(axis) for axis in axes.values()] or [1])
    names = list(axes)
    if names and names[0] not in _SLEWS:
        values, names = (values.T, names[::-1]) if len(names) == 2 else (values[None, :], names)
        slews = axes[names[0]] if len(names) == 2 else [0.0]
        loads = axes[names[-1]]
    else:
        slews = axes[names[0]] if names else [0.0]
        loads = axes[names[1]] if len(names) == 2 else [0.0]
    return Table(
        slews=np.array(slews),
        loads=np.array(loads),
        values=values.reshape(len(slews), len(loads)),
    )


def merge(tables: list[Table], how) -> Table:
    """One table of several over the same axes; a constant fits any."""
    axes = max(tables, key=lambda table: table.values.size)
    values = [np.broadcast_to(table.values, axes.values.shape) for table in tables]
    return Table(slews=axes.slews, loads=axes.loads, values=how(values, axis=0))


_EDGES = {"positive_unate": (0, 1), "negative_unate": (1, 0)}


def _cell(node, templates) -> Cell:
    name = node.args[0]
    pins, arcs = {}, []
    flip_flop = node.find("ff")
    gate = value(node, "clock_gating_integrated_cell")
    for pin in children(node, "pin"):
        pin_name = pin.args[0]
        output = value(pin, "direction") == "output"
        if value(pin, "direction") == "internal":
            continue
        pins[pin_name] = Pin(
            output=output,
            clock=value(pin, "clock") == "true" or value(pin, "clock_gate_clock_pin") == "true",
            capacitance_ff=float(value(pin, "capacitance", "0")),
            function=_verilog(value(pin, "function")) if output and flip_flop is None else "",
            setup=_setup(pin, templates),
        )
        if output:
            arcs += _arcs(pin, pin_name, templates, clocked=flip_flop is not None)
    inverting = flip_flop is not None and _inverting(node, flip_flop)
    return Cell(
        name=name,
        area_um2=float(value(node, "area", "0")),
        leakage_pw=_leakage(node),
        kind="flip-flop" if flip_flop is not None else "clock gate" if gate else "logic",
        inverting=inverting,
        pins=pins,
        arcs=tuple(arcs),
    )


def _inverting(node, flip_flop) -> bool:
    """Whether the output of a flip-flop is the complement of its input."""
    state = flip_flop.args[0]
    stored = "!" in value(flip_flop, "next_state")
    (function,) = (
        value(pin, "function")
        for pin in children(node, "pin")
        if value(pin, "direction") == "output"
    )
    return stored != (function.strip("()") != state)


def _verilog(function: str) -> str:
    """A function of Liberty as an expression of Verilog."""
    return function.replace("!", "~").replace("*", "&").replace("+", "|")


def _leakage(node) -> float:
    """The value that has no condition, or the mean of those that have one; summed over supplies."""
    by_supply = defaultdict(list)
    for group in children(node, "leakage_power"):
        stated = bool(value(group, "when"))
        by_supply[value(group, "related_pg_pin")].append((stated, float(value(group, "value"))))
    total = 0.0
    for values in by_supply.values():
        plain = [value for stated, value in values if not stated]
        total += float(np.mean(plain or [value for _, value in values]))
    return total or float(value(node, "cell_leakage_power", "0"))


def _timings(pin, *types: str) -> Iterator:
    for group in children(pin, "timing"):
        if value(group, "timing_type", "combinational") in types:
            yield group


def _setup(pin, templates) -> tuple[Table, Table] | None:
    edges = ([], [])
    for group in _timings(pin, "setup_rising"):
        for tables, edge in zip(edges, ("rise_constraint", "fall_constraint"), strict=True):
            if (node := group.find(edge)) is not None:
                tables.append(table(node, templates))
    return tuple(merge(tables, np.max) for tables in edges) if all(edges) else None


def _arcs(pin, name, templates, *, clocked: bool) -> Iterator[Arc]:
    """Arcs to an output: the worst over conditions, for each input and pair of edges."""
    found = defaultdict(lambda: ([], [], [], []))
    # A clock gate's output follows its clock, whose edge is all that matters here.
    for group in _timings(pin, "combinational", "rising_edge"):
        edge = value(group, "timing_type", "combinational") == "rising_edge"
        sense = (0, 0) if edge else _EDGES.get(value(group, "timing_sense"), (-1, -1))
        tables = found[value(group, "related_pin"), sense]
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
    """Verilog modules of some cells: what they compute, without delays."""
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
