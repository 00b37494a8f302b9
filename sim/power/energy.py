"""Energy of a mapped netlist, from what its nets do while it computes.

The netlist is simulated on operands (sim/power/play.py) and must do what its RTL does. Every toggle
of a net is then charged, C V^2 / 2 of its pins and wires and the internal energy of the cell that
drives it, by the library's tables at the slews and loads of static timing. Leakage is the mean over
states, times the cycle.

What is counted, and what is not:

- Toggles of `count` are of settled nets: no glitches, which sim/power/glitches.py adds. The clock
  has no
  tree: its energy is that of clock gates, of the clock pins and of the wires to them.
- An output's internal energy is the mean of its rise and its fall, and over the inputs that can
  cause it, weighted by their toggles. An input that moves without an output has tables of its own.
- Tables of a cell with two outputs describe an input's event at each: where both toggle, it is
  counted once.
- A flip-flop's data is taken to arrive while the clock is low, so that the clock's own energy, at a
  rise without a new output and at each fall, is that of a flip-flop which holds what it is given.
- Nets of input ports belong to whatever drives the block: `ports_j`, not in the total. In a row of
  hops that is the energy of the act registers' nets towards the next hop.

`nominal` takes the tables of the supply. `low` is the same without wires. `high` counts as OpenSTA
does: tables of supply and ground added up, both outputs of a cell charged. OpenSTA differs further
in that a flip-flop's input and output are independent there, which makes five cells of its own
regression test (sim/power/test_energy.py) 5 % cheaper; that states which exclude each other count
towards leakage; and that either edge has its own slew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tritloom.arch.errors import InputError, MismatchError
from tritloom.hw.cells.internal_energy import CellEnergy, internal_energy
from tritloom.hw.cells.netlist import Netlist
from tritloom.hw.cells.timer import CLOCK_SLEW_PS, WIRE_FF, Timing
from tritloom.hw.emit import Rtl

from . import play

CATEGORIES = ("arithmetic", "registers", "clock", "leakage")
_FEMTO = 1e-15


@dataclass(frozen=True, kw_only=True)
class NetlistActivity:
    """Toggles of a netlist's nets.

    Attributes
    ----------
    toggles : array of float
        By net number.
    together : dict of tuple of int to float
        Of cells with several outputs: their nets -> how often any of them toggled, both at once
        counted once; the largest count, if missing.
    """

    cycles: float
    toggles: np.ndarray = field(repr=False)
    together: Mapping[tuple[int, ...], float] = field(default_factory=dict, repr=False)


def count(netlist: Netlist, recording: play.Recording) -> NetlistActivity:
    """Activity in a recording of all nets, without glitches (sim/power/glitches.py has them)."""
    numbers = play.net_numbers(netlist)
    samples = recording.nets
    flips = samples[1:] ^ samples[:-1]
    toggles = np.zeros(numbers[-1] + 1)
    column = np.zeros(numbers[-1] + 1, int)
    column[numbers] = np.arange(len(numbers))
    # A few bytes of nets at a time.
    for start in range(0, flips.shape[1], 256):
        bits = np.unpackbits(flips[:, start : start + 256], axis=1, bitorder="little")
        part = numbers[8 * start : 8 * (start + 256)]
        toggles[part] = bits.sum(axis=0)[: len(part)]
    together = {}
    for nets in {nets for i in netlist.instances if len(nets := _outputs(i)) > 1}:
        moved = np.zeros(len(flips), bool)
        for net in nets:
            moved |= (flips[:, column[net] // 8] >> (column[net] % 8) & 1).astype(bool)
        together[nets] = float(moved.sum())
    return NetlistActivity(cycles=recording.cycles, toggles=toggles, together=together)


def _outputs(instance) -> tuple[int, ...]:
    """Nets that a cell drives."""
    nets = (instance.nets.get(pin, -1) for pin in instance.cell.outputs)
    return tuple(net for net in nets if net >= 0)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Energy by category, in joules per operation.

    Attributes
    ----------
    arithmetic_j : float
        Logic cells and the nets that they drive.
    registers_j : float
        Data of flip-flops, and the nets that they drive.
    clock_j : float
        Flip-flops' clock pins, clock gates, nets of both.
    leakage_j : float
    switching_j : float
        Of these, what is stored on nets.
    ports_j : float
        Nets of input ports but the clock: not in the total.
    """

    arithmetic_j: float
    registers_j: float
    clock_j: float
    leakage_j: float
    switching_j: float
    ports_j: float

    @property
    def total_j(self) -> float:
        """Sum of the categories."""
        return sum(getattr(self, f"{category}_j") for category in CATEGORIES)


@dataclass(frozen=True, kw_only=True)
class PowerReport:
    """Energy per operation, and under what conditions.

    Attributes
    ----------
    operations : float
        In all cycles together.
    wire_ff : float
        Of a net's wires, for each pin that it drives.
    """

    library: str
    voltage_v: float
    temperature_c: float
    wire_ff: float
    clock_hz: float
    cycles: float
    operations: float
    low: Split
    nominal: Split
    high: Split


def energy(
    netlist: Netlist,
    timing: Timing,
    activity: NetlistActivity,
    *,
    clock_hz: float,
    operations: float,
    wire_ff: float = WIRE_FF,
) -> PowerReport:
    """Energy per operation of an activity.

    Parameters
    ----------
    timing : Timing
        Of this netlist, with wires of `wire_ff`.
    operations : float
        What the block did meanwhile.

    Raises
    ------
    InputError
        The library has no internal energy.
    """
    library = netlist.library
    if not library.has_power:
        raise InputError(f"library {library.name} has no tables of internal energy")
    rails = [internal_energy(library, netlist.cells, ground=ground) for ground in (False, True)]
    fanout = np.zeros(len(timing.loads_ff))
    for net, _ in netlist.driven():
        fanout[net] += 1
    bare = timing.loads_ff - wire_ff * fanout
    supply = internal_j(netlist, timing.loads_ff, timing.slews_ps, activity, rails[0])
    both = sum(
        internal_j(netlist, timing.loads_ff, timing.slews_ps, activity, tables, every=True)
        for tables in rails
    )
    unwired = internal_j(netlist, bare, timing.slews_ps, activity, rails[0])
    leakage = leakage_w(netlist).sum() * activity.cycles / clock_hz
    low, nominal, high = (
        _split(netlist, activity, internal, loads, leakage, operations)
        for internal, loads in (
            (unwired, bare),
            (supply, timing.loads_ff),
            (both, timing.loads_ff),
        )
    )
    return PowerReport(
        library=library.name,
        voltage_v=library.voltage_v,
        temperature_c=library.temperature_c,
        wire_ff=wire_ff,
        clock_hz=clock_hz,
        cycles=activity.cycles,
        operations=operations,
        low=low,
        nominal=nominal,
        high=high,
    )


def leakage_w(netlist: Netlist) -> np.ndarray:
    """Leakage of each instance, in watts."""
    return np.array([instance.cell.leakage_pw for instance in netlist.instances]) * 1e-12


def switching_j(netlist: Netlist, loads_ff: np.ndarray, activity: NetlistActivity) -> np.ndarray:
    """Energy to charge each net, by net number."""
    charged = 0.5 * loads_ff * netlist.library.voltage_v**2 * _FEMTO
    toggles = np.zeros(len(loads_ff))
    toggles[: len(activity.toggles)] = activity.toggles
    return charged * toggles


def internal_j(
    netlist: Netlist,
    loads_ff: np.ndarray,
    slews_ps: np.ndarray,
    activity: NetlistActivity,
    tables: Mapping[str, CellEnergy],
    *,
    every: bool = False,
    clock_slew_ps: float = CLOCK_SLEW_PS,
) -> np.ndarray:
    """Energy inside each instance: of its clock pin, and of the rest; shape (instances, 2).

    Parameters
    ----------
    tables : mapping of str to CellEnergy
        By cell.
    every : bool
        Charge each output of a cell for an event that they share.
    """
    # The last entry stands for constants, which do not move.
    size = len(loads_ff)
    toggles, loads, slews = np.zeros(size + 1), np.zeros(size + 1), np.zeros(size + 1)
    toggles[: len(activity.toggles)] = activity.toggles
    loads[:size], slews[:size] = loads_ff, slews_ps
    slews[list(netlist.clock_nets)] = clock_slew_ps
    members = defaultdict(list)
    for index, instance in enumerate(netlist.instances):
        members[instance.cell.name].append(index)
    result = np.zeros((len(netlist.instances), 2))
    for name, indices in members.items():
        instances = [netlist.instances[index] for index in indices]
        cell = instances[0].cell
        nets = {
            pin: np.array([max(i.nets.get(pin, -1), -1) for i in instances]) for pin in cell.pins
        }
        moves = {pin: toggles[numbers] for pin, numbers in nets.items()}
        clock = next((pin for pin in cell.inputs if cell.pins[pin].clock), None)
        changes = sum(moves[pin] for pin in cell.outputs)
        events = np.array(changes, float)
        if len(cell.outputs) > 1:
            most = np.max([moves[pin] for pin in cell.outputs], axis=0)
            events = np.array(
                [
                    activity.together.get(_outputs(i), largest)
                    for i, largest in zip(instances, most, strict=True)
                ]
            )
        once = np.divide(events, changes, out=np.ones(len(indices)), where=changes > 0)
        spent = np.zeros((len(indices), 2))
        for output in cell.outputs:
            caused = [
                (related, mean_fj(edges, slews[nets[related]], loads[nets[output]]))
                for (pin, related), edges in tables[name].caused.items()
                if pin == output
            ]
            if caused:
                weights = np.array([moves[related] for related, _ in caused])
                weights[:, weights.sum(axis=0) == 0] = 1
                each = np.average([fj for _, fj in caused], axis=0, weights=weights)
                spent[:, 1] += each * moves[output] * (1 if every else once)
        causes = sum(moves[pin] for pin in cell.inputs)
        for pin, (rise, fall) in tables[name].hidden.items():
            slew = slews[nets[pin]]
            if pin == clock and cell.kind == "flip-flop":
                edges = moves[pin] / 2
                idle = np.maximum(edges - changes, 0)
                spent[:, 0] += idle * rise.at(slew, 0.0) + edges * fall.at(slew, 0.0)
                continue
            if cell.kind == "logic":
                share = np.divide(moves[pin], causes, out=np.zeros(len(indices)), where=causes > 0)
                alone = np.maximum(moves[pin] - share * events, 0)
            else:
                # A clock gate's clock pin moves its output; its data pin has no output of its own.
                alone = np.maximum(moves[pin] - changes, 0) if pin == clock else moves[pin]
            spent[:, 1] += alone * mean_fj((rise, fall), slew, 0.0)
        result[indices] = spent
    return result * _FEMTO


def mean_fj(edges, slew, load):
    """Mean of a rise and a fall."""
    rise, fall = edges
    return (rise.at(slew, load) + fall.at(slew, load)) / 2


def _split(netlist, activity, internal, loads, leakage, operations) -> Split:
    category = {"logic": "arithmetic", "flip-flop": "registers", "clock gate": "clock"}
    joules = dict.fromkeys((*CATEGORIES, "ports"), 0.0)
    switching = switching_j(netlist, loads, activity)
    clocks = netlist.clock_nets
    owner = dict.fromkeys((net for bits in netlist.inputs.values() for net in bits), "ports")
    for instance, (clock, rest) in zip(netlist.instances, internal, strict=True):
        joules["clock"] += clock
        joules[category[instance.cell.kind]] += rest
        owner |= dict.fromkeys(_outputs(instance), category[instance.cell.kind])
    owner |= dict.fromkeys(clocks, "clock")
    for net, what in owner.items():
        joules[what] += switching[net]
    joules["leakage"] = leakage
    stored = sum(switching[net] for net, what in owner.items() if what != "ports")
    return Split(
        **{f"{what}_j": float(value / operations) for what, value in joules.items()},
        switching_j=float(stored / operations),
    )


def record(
    netlist: Netlist, rtl: Rtl, words: Mapping[str, np.ndarray], *, folder: Path | None = None
) -> play.Recording:
    """Play words into a netlist and into its RTL, which must do the same.

    Parameters
    ----------
    words : mapping of str to array of uint8, shape (cycles, bytes)
        Words for `play.play`, such as those of sim/power/words.py.
    folder : Path, optional
        Where builds are kept: `verilator.builds_folder` by default.

    Raises
    ------
    MismatchError
        An output of the netlist is not that of the RTL.
    """
    recording = play.play(play.of_netlist(netlist), words, folder=folder)
    wanted = play.play(play.of_rtl(rtl), words, folder=folder)
    for port, found in recording.outputs.items():
        wrong = np.flatnonzero((found != wanted.outputs[port]).any(axis=1))
        if len(wrong):
            raise MismatchError(f"{port} of {netlist.top} differs from its RTL in cycle {wrong[0]}")
    return recording
