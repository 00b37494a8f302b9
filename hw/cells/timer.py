"""Static timing of a mapped design: its longest path, and cell sizes that shorten the path.

Timing is by the library's tables, before placement: the load of a net is that of its pins and
`WIRE_FF` for each pin; slews are propagated; the clock is ideal. Inputs come from, and outputs
go to, flip-flops like those inside, so that a block is as fast as it is between registers.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from .liberty import Arc, Cell, Library
from .liberty_table import Tables
from .netlist import Instance, Netlist

# Capacitance of a net's wires for each pin that it drives: 3 um at about 0.18 fF/um.
WIRE_FF = 0.55
CLOCK_SLEW_PS = 20.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The result of static timing.

    Attributes
    ----------
    critical_ps : float
        Delay of the longest path, from clock edge to clock edge, setup included.
    path : tuple of (str, str, float)
        Steps of that path: instance, cell, arrival (ps).
    loads_ff, slews_ps : array of float
        Load and slew of each net; the slew is the mean of rise and fall.
    """

    critical_ps: float
    path: tuple[tuple[str, str, float], ...]
    loads_ff: np.ndarray = field(repr=False)
    slews_ps: np.ndarray = field(repr=False)


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
        self._flip_flop = netlist.flip_flop
        nets = [net for i in netlist.instances for net in i.nets.values()]
        nets += [net for bits in netlist.inputs.values() for net in bits]
        self._size = 1 + max(nets)
        self._tables = Tables()
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
        for net, pin in self.netlist.driven():
            self._load[net] += pin.capacitance_ff + self._wire_ff

    def _launch(self):
        """List where paths start and end: flip-flops, and ports, which have one outside."""
        clocks = self.netlist.clock_nets
        # Rows of (net, instance or -1).
        starts = [
            (net, -1) for bits in self.netlist.inputs.values() for net in bits if net not in clocks
        ]
        # Rows of (net, instance or -1, pin).
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
        setups = [pin.setup for *_, pin in ends if pin.setup is not None]
        self._setups = np.array(
            [[self._tables.number(setup[edge]) for setup in setups] for edge in (0, 1)]
        )

    def _order(self):
        """Make the rows, one for each pair of edges of each arc, by level of the target net."""
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
        # Row at which each level begins.
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
        level: dict[int, int] = {}
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
            # The worst slew counts, whichever input causes it.
            slopes = self._tables.at(self._slew_of[part], slope, load)
            reached = np.isfinite(arrival[source, cause])
            np.maximum.at(slew, (target[reached], effect[reached]), slopes[reached])
        return arrival, slew, delays

    def _setup(self, slew):
        """Setup times (ps) of `self._ends`, by edge."""
        clock = np.full(len(self._ends), CLOCK_SLEW_PS)
        return np.stack(
            [self._tables.at(self._setups[edge], slew[self._ends, edge], clock) for edge in (0, 1)],
            axis=1,
        )

    def time(self) -> Timing:
        """Time the netlist at its present sizes."""
        arrival, slew, delays = self._forward()
        totals = arrival[self._ends] + self._setup(slew)
        end, edge = map(int, np.unravel_index(np.argmax(totals), totals.shape))
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
        """Enlarge cells on paths that are too long, until the clock is met or nothing helps.

        Returns
        -------
        Netlist
            The netlist at the sizes that came closest to the clock.
        Timing
            The timing of that netlist.
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
            # Cells on the longest paths, and on those not much shorter.
            self._enlarge(slack, slew, families, limit=0.7 * (clock_ps - worst))
        self._instances = best_instances
        self.netlist = replace(self.netlist, instances=tuple(best_instances))
        self._count_loads()
        for index in self._rows_of:
            self._look_up(index)
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
        """The delay (ps) that one fF more on a net costs."""
        index = self._driver.get(net, -1)
        cell = self._flip_flop if index < 0 else self._instances[index].cell
        low, high = (cell.arcs[0].delays[0].at(40.0, load) for load in (5.0, 10.0))
        return float(high - low) / 5.0


def _delays(cell: Cell, instance: Instance, slew, load):
    """Delays (ps) of a cell in the place of an instance, arc by arc."""
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
    larger: dict[str, Cell] = {}
    for cells in groups.values():
        cells.sort(key=lambda cell: (_drive(cell), cell.area_um2))
        larger |= {a.name: b for a, b in pairwise(cells)}
    return larger


def _drive(cell: Cell) -> float:
    """The drive strength of a cell: the less its delay at a load, the larger."""
    arcs: list[Arc] = [arc for arc in cell.arcs if min(arc.delays[0].values.shape) > 1]
    return -min((arc.delays[0].at(40.0, 20.0) for arc in arcs), default=0.0)
