"""A design mapped to standard cells: its area, and how long its longest path is.

Static timing by the library's tables, before placement: the load of a net is that of its pins and
`WIRE_FF` for each of them; slews are propagated; the clock is ideal. Inputs come from, and outputs
go to, flip-flops like those inside, so that a block is as fast as it is between registers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from .liberty import Arc, Cell, Library
from .liberty_table import Table

# Capacitance of a net's wires for each pin that it drives: 3 um at about 0.18 fF/um.
WIRE_FF = 0.55
CLOCK_SLEW_PS = 20.0


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A cell of the netlist; nets are numbers, by pin. Constants are negative."""

    name: str
    cell: Cell
    nets: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """Instances of library cells, and the nets between them.

    Attributes
    ----------
    inputs, outputs : dict of str to list of int
        Nets of each port, low bit first.
    """

    top: str
    library: Library
    instances: tuple[Instance, ...]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]

    @property
    def cells(self) -> Counter:
        """Instances by cell."""
        return Counter(instance.cell.name for instance in self.instances)

    @property
    def area_um2(self) -> float:
        """Sum of the cells' areas."""
        return sum(instance.cell.area_um2 for instance in self.instances)

    def area_of(self, kind: str) -> float:
        """Area of cells of a kind: `logic`, `flip-flop`, `clock gate`."""
        return sum(i.cell.area_um2 for i in self.instances if i.cell.kind == kind)

    @cached_property
    def clock_nets(self) -> set[int]:
        """Nets on clock pins, and those that clock gates drive."""
        return {
            net
            for i in self.instances
            for name, net in i.nets.items()
            if i.cell.pins[name].clock or (i.cell.kind == "clock gate" and i.cell.pins[name].output)
        }

    @cached_property
    def verilog(self) -> str:
        """The netlist as text; net 7 is `n7`."""

        def net(number):
            return f"n{number}" if number >= 0 else f"1'b{-1 - number}"

        ports = {"input": self.inputs, "output": self.outputs}
        lines = [f"module {self.top}({', '.join([*self.inputs, *self.outputs])});"]
        for direction, named in ports.items():
            for name, bits in named.items():
                lines.append(f"  {direction} [{len(bits) - 1}:0] {name};")
        driven = {number for i in self.instances for number in i.nets.values() if number >= 0} | {
            number for named in ports.values() for bits in named.values() for number in bits
        }
        lines += [f"  wire n{number};" for number in sorted(driven) if number >= 0]
        for name, bits in self.inputs.items():
            lines += [f"  assign n{bit} = {name}[{i}];" for i, bit in enumerate(bits)]
        for name, bits in self.outputs.items():
            lines += [f"  assign {name}[{i}] = {net(bit)};" for i, bit in enumerate(bits)]
        for index, instance in enumerate(self.instances):
            pins = ", ".join(f".{pin}({net(bit)})" for pin, bit in instance.nets.items())
            lines.append(f"  {instance.cell.name} i{index}({pins});")
        return "\n".join([*lines, "endmodule", ""])


def read_netlist(top: str, described: dict, library: Library) -> Netlist:
    """The netlist in what Yosys' `write_json` says of a flat module."""
    constants = {"0": -1, "1": -2, "x": -1, "z": -1}

    def number(bit):
        return constants[bit] if isinstance(bit, str) else bit

    instances = tuple(
        Instance(
            name=name,
            cell=library.cells[cell["type"]],
            nets={pin: number(bits[0]) for pin, bits in cell["connections"].items() if bits},
        )
        for name, cell in described["cells"].items()
        if cell["type"] != "$scopeinfo"
    )
    ports = {"input": {}, "output": {}}
    for name, port in described["ports"].items():
        ports[port["direction"]][name] = [number(bit) for bit in port["bits"]]
    return Netlist(
        top=top,
        library=library,
        instances=instances,
        inputs=ports["input"],
        outputs=ports["output"],
    )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What static timing finds.

    Attributes
    ----------
    critical_ps : float
        Of the longest path, from clock edge to clock edge, setup included.
    path : tuple of (str, str, float)
        Its steps: instance, cell, arrival (ps).
    loads_ff, slews_ps : array of float
        By net; the slew is the mean of rise and fall.
    """

    critical_ps: float
    path: tuple[tuple[str, str, float], ...]
    loads_ff: np.ndarray = field(repr=False)
    slews_ps: np.ndarray = field(repr=False)


class _Tables:
    """Tables of one shape, side by side, looked up many at a time."""

    def __init__(self):
        self._index = {}
        self._tables = []

    def number(self, table: Table) -> int:
        if id(table) not in self._index:
            self._index[id(table)] = len(self._tables)
            self._tables.append(table)
        return self._index[id(table)]

    def freeze(self):
        self.slews = np.array([table.slews for table in self._tables])
        self.loads = np.array([table.loads for table in self._tables])
        self.values = np.array([table.values for table in self._tables])

    def at(self, numbers, slew, load):
        i, u = self._place(self.slews[numbers], slew)
        j, v = self._place(self.loads[numbers], load)
        values = self.values
        upper = values[numbers, i, j] * (1 - v) + values[numbers, i, j + 1] * v
        lower = values[numbers, i + 1, j] * (1 - v) + values[numbers, i + 1, j + 1] * v
        return upper * (1 - u) + lower * u

    @staticmethod
    def _place(axes, values):
        index = np.clip((values[:, None] > axes).sum(1) - 1, 0, axes.shape[1] - 2)
        rows = np.arange(len(values))
        low, high = axes[rows, index], axes[rows, index + 1]
        return index, (values - low) / (high - low)


class Timer:
    """Static timing of a netlist without combinational loops, and sizes that meet a clock.

    Parameters
    ----------
    wire_ff : float
        Capacitance of wires for each pin of a net.
    """

    def __init__(self, netlist: Netlist, *, wire_ff: float = WIRE_FF):
        self.netlist = netlist
        self._wire_ff = wire_ff
        self._instances = list(netlist.instances)
        self._flip_flop = netlist.library.find("DFF*")
        nets = [net for i in netlist.instances for net in i.nets.values()]
        nets += [net for bits in netlist.inputs.values() for net in bits]
        self._size = 1 + max(nets)
        self._tables = _Tables()
        for cell in netlist.library.cells.values():
            setups = [pin.setup for pin in cell.pins.values() if pin.setup is not None]
            for tables in [*setups, *(arc.delays + arc.slews for arc in cell.arcs)]:
                for table in tables:
                    if table.values.size > 1 and min(table.values.shape) > 1:
                        self._tables.number(table)
        self._tables.freeze()
        # Nets of each instance's outputs, the last one repeated.
        self._outputs = np.array(
            [
                ([i.nets[pin] for pin in i.cell.outputs if pin in i.nets] * 2 + [-1, -1])[:2]
                for i in self._instances
            ]
        )
        self._count_loads()
        self._launch()
        self._order()

    def _count_loads(self):
        self._load = np.zeros(self._size)
        (data,) = (p for p in self._flip_flop.pins.values() if p.setup is not None)
        for bits in self.netlist.outputs.values():
            for net in bits:
                if net >= 0:
                    self._load[net] += data.capacitance_ff + self._wire_ff
        for instance in self._instances:
            for name, net in instance.nets.items():
                pin = instance.cell.pins[name]
                if not pin.output and net >= 0:
                    self._load[net] += pin.capacitance_ff + self._wire_ff

    def _launch(self):
        """What starts and ends paths: flip-flops, and ports as if behind or in front of one."""
        clocks = self.netlist.clock_nets
        # (net, instance or -1)
        starts = [
            (net, -1) for bits in self.netlist.inputs.values() for net in bits if net not in clocks
        ]
        # (net, instance or -1, pin)
        (data,) = (pin for pin in self._flip_flop.pins.values() if pin.setup is not None)
        ends = [
            (net, -1, data) for bits in self.netlist.outputs.values() for net in bits if net >= 0
        ]
        for index, instance in enumerate(self._instances):
            if instance.cell.kind == "flip-flop":
                (output,) = instance.cell.outputs
                if output in instance.nets:
                    starts.append((instance.nets[output], index))
            for name, pin in instance.cell.pins.items():
                net = instance.nets.get(name, -1)
                if pin.setup is not None and net >= 0:
                    ends.append((net, index, pin))
        self._starts, self._start_of = np.array(starts, int).reshape(-1, 2).T
        self._ends, self._end_of = (
            np.array(column, int) for column in list(zip(*ends, strict=True))[:2]
        )
        self._setups = np.array(
            [[self._tables.number(pin.setup[edge]) for _, _, pin in ends] for edge in (0, 1)]
        )

    def _order(self):
        """Rows: one for each pair of edges of each arc, by level of its target net."""
        drivers = defaultdict(list)
        for index, instance in enumerate(self._instances):
            if instance.cell.kind == "logic":
                for number, arc in enumerate(instance.cell.arcs):
                    if arc.target in instance.nets and instance.nets.get(arc.source, -1) >= 0:
                        drivers[instance.nets[arc.target]].append((index, number, arc))
        level = self._levels(drivers)
        rows = []
        for net, arcs in drivers.items():
            for index, number, arc in arcs:
                source = self._instances[index].nets[arc.source]
                for effect in (0, 1):
                    causes = (0, 1) if arc.inputs[effect] < 0 else (arc.inputs[effect],)
                    rows += [
                        (level[net], source, cause, net, effect, index, number) for cause in causes
                    ]
        table = np.array(sorted(rows), dtype=int).reshape(-1, 7)
        names = ("level", "source", "cause", "target", "effect", "instance", "arc")
        self._row = {name: table[:, column] for column, name in enumerate(names)}
        self._driver = {net: arcs[0][0] for net, arcs in drivers.items()}
        self._driver |= dict(zip(self._starts.tolist(), self._start_of.tolist(), strict=True))
        # Where each level begins.
        last = self._row["level"][-1] if len(table) else 0
        self._levels_at = np.searchsorted(self._row["level"], np.arange(last + 2))
        self._delay_of = np.empty(len(table), int)
        self._slew_of = np.empty(len(table), int)
        self._rows_of = defaultdict(list)
        for row, index in enumerate(self._row["instance"]):
            self._rows_of[int(index)].append(row)
        for index in self._rows_of:
            self._look_up(index)

    def _look_up(self, index):
        cell = self._instances[index].cell
        for row in self._rows_of[index]:
            arc = cell.arcs[self._row["arc"][row]]
            effect = self._row["effect"][row]
            self._delay_of[row] = self._tables.number(arc.delays[effect])
            self._slew_of[row] = self._tables.number(arc.slews[effect])

    def _levels(self, drivers):
        level = {}
        for start in list(drivers):
            stack = [start]
            while stack:
                net = stack[-1]
                sources = [
                    self._instances[i].nets[arc.source] for i, _, arc in drivers.get(net, ())
                ]
                waiting = [source for source in sources if source not in level]
                if net not in level and waiting:
                    if len(stack) > self._size:
                        raise ValueError(f"{self.netlist.top} has a combinational loop")
                    stack += waiting
                    continue
                level[net] = 1 + max((level[source] for source in sources), default=-1)
                stack.pop()
        return level

    def _forward(self):
        arrival = np.full((self._size, 2), -np.inf)
        slew = np.zeros((self._size, 2))
        cells = [
            self._flip_flop if index < 0 else self._instances[index].cell
            for index in self._start_of
        ]
        clock, load = np.full(len(cells), CLOCK_SLEW_PS), self._load[self._starts]
        for edge in (0, 1):
            for found, kind in ((arrival, "delays"), (slew, "slews")):
                numbers = [self._tables.number(getattr(c.arcs[0], kind)[edge]) for c in cells]
                found[self._starts, edge] = self._tables.at(np.array(numbers), clock, load)
        row = self._row
        delays = np.zeros(len(row["level"]))
        for start, end in pairwise(self._levels_at):
            if start == end:
                continue
            part = slice(start, end)
            source, cause = row["source"][part], row["cause"][part]
            target, effect = row["target"][part], row["effect"][part]
            slope, load = slew[source, cause], self._load[target]
            delays[part] = self._tables.at(self._delay_of[part], slope, load)
            np.maximum.at(arrival, (target, effect), arrival[source, cause] + delays[part])
            # The worst slew, whichever input it comes from.
            slopes = self._tables.at(self._slew_of[part], slope, load)
            reached = np.isfinite(arrival[source, cause])
            np.maximum.at(slew, (target[reached], effect[reached]), slopes[reached])
        return arrival, slew, delays

    def _setup(self, slew):
        """Setup times of `self._ends`, by edge."""
        clock = np.full(len(self._ends), CLOCK_SLEW_PS)
        return np.stack(
            [self._tables.at(self._setups[edge], slew[self._ends, edge], clock) for edge in (0, 1)],
            axis=1,
        )

    def time(self) -> Timing:
        """Static timing at the present sizes."""
        arrival, slew, delays = self._forward()
        totals = arrival[self._ends] + self._setup(slew)
        end, edge = np.unravel_index(np.argmax(totals), totals.shape)
        net, index, worst = int(self._ends[end]), int(self._end_of[end]), float(totals[end, edge])
        path = []
        if index >= 0:
            path.append((*self._name(index), worst))
        row = self._row
        came = arrival[row["source"], row["cause"]] + delays
        while len(rows := np.flatnonzero((row["target"] == net) & (row["effect"] == edge))):
            number = rows[np.argmax(came[rows])]
            path.append((*self._name(row["instance"][number]), float(arrival[net, edge])))
            net, edge = int(row["source"][number]), int(row["cause"][number])
        if self._driver.get(net, -1) >= 0:
            path.append((*self._name(self._driver[net]), float(arrival[net, edge])))
        return Timing(
            critical_ps=worst,
            path=tuple(reversed(path)),
            loads_ff=self._load.copy(),
            slews_ps=slew.mean(axis=1),
        )

    def _name(self, index):
        instance = self._instances[index]
        return instance.name, instance.cell.name

    def size(self, clock_ps: float, *, rounds: int = 80) -> tuple[Netlist, Timing]:
        """Larger cells on paths that are too long, until the clock is met or nothing helps.

        Returns
        -------
        The netlist at the sizes that came closest, and its timing.
        """
        families = _families(self.netlist.library)
        best, best_instances = np.inf, list(self._instances)
        stale = 0
        for _ in range(rounds):
            arrival, slew, delays = self._forward()
            setup = self._setup(slew)
            worst = float((arrival[self._ends] + setup).max())
            required = np.full((self._size, 2), np.inf)
            np.minimum.at(required, self._ends, clock_ps - setup)
            stale = stale + 1 if worst > best - 0.2 else 0
            if worst < best:
                best, best_instances = worst, list(self._instances)
            if worst <= clock_ps or stale > 6:
                break
            row = self._row
            for start, end in reversed(list(pairwise(self._levels_at))):
                if start < end:
                    part = slice(start, end)
                    need = required[row["target"][part], row["effect"][part]] - delays[part]
                    np.minimum.at(required, (row["source"][part], row["cause"][part]), need)
            slack = (required - arrival).min(axis=1)
            # The longest paths, and those not far behind.
            self._enlarge(slack, slew, families, limit=0.7 * (clock_ps - worst))
        self._instances = best_instances
        self._count_loads()
        for index in self._rows_of:
            self._look_up(index)
        self.netlist = replace(self.netlist, instances=tuple(best_instances))
        return self.netlist, self.time()

    def _enlarge(self, slack, slew, families, *, limit):
        """Exchange cells that drive nets of a slack below the limit, where that gains time."""
        gains = []
        late = (self._outputs[:, 0] >= 0) & (slack[self._outputs].min(axis=1) <= limit)
        for index in np.flatnonzero(late).tolist():
            instance = self._instances[index]
            if (larger := families.get(instance.cell.name)) is None:
                continue
            more = {
                net: larger.pins[pin].capacitance_ff - instance.cell.pins[pin].capacitance_ff
                for pin, net in instance.nets.items()
                if net >= 0 and not instance.cell.pins[pin].output
            }
            now = max(_delays(instance.cell, instance, slew, self._load))
            then = max(_delays(larger, instance, slew, self._load))
            lost = max(
                (ff * self._resistance(net) for net, ff in more.items() if slack[net] <= limit),
                default=0.0,
            )
            gain = now - then - lost
            if gain > 0.5:
                price = max(larger.area_um2 - instance.cell.area_um2, 0.01)
                gains.append((gain / price, index, larger, more))
        gains.sort(key=lambda entry: -entry[0])
        for _, index, larger, more in gains[: max(4, len(gains) // 3)]:
            for net, ff in more.items():
                self._load[net] += ff
            self._instances[index] = replace(self._instances[index], cell=larger)
            if index in self._rows_of:
                self._look_up(index)

    def _resistance(self, net):
        """What a fF more costs on a net, in ps."""
        index = self._driver.get(net, -1)
        cell = self._flip_flop if index < 0 else self._instances[index].cell
        low, high = (cell.arcs[0].delays[0].at(40.0, load) for load in (5.0, 10.0))
        return float(high - low) / 5.0


def _delays(cell: Cell, instance: Instance, slew, load):
    """Delays of a cell in the place of an instance, arc by arc."""
    yield 0.0
    for arc in cell.arcs:
        net = instance.nets.get(arc.target, -1)
        source = instance.nets.get(arc.source, -1)
        if net >= 0 and source >= 0:
            slope = CLOCK_SLEW_PS if cell.kind == "flip-flop" else float(slew[source].mean())
            yield float(max(table.at(slope, load[net]) for table in arc.delays))


def _families(library: Library) -> dict[str, Cell]:
    """The next larger cell of the same function and pins, by the name of a cell."""
    groups = defaultdict(list)
    for cell in library.cells.values():
        if cell.kind != "clock gate":
            key = (cell.kind, cell.inverting, tuple((n, p.function) for n, p in cell.pins.items()))
            groups[key].append(cell)
    larger = {}
    for cells in groups.values():
        cells.sort(key=lambda cell: (_drive(cell), cell.area_um2))
        larger |= {a.name: b for a, b in pairwise(cells)}
    return larger


def _drive(cell: Cell) -> float:
    """How little a fF slows it."""
    arcs: list[Arc] = [arc for arc in cell.arcs if min(arc.delays[0].values.shape) > 1]
    return -min((arc.delays[0].at(40.0, 20.0) for arc in arcs), default=0.0)
