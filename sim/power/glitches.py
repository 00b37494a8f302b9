"""Toggles with glitches: a netlist's cycles once more, each event at its time.

Cells have the delays of static timing, those of the edge and of the input that changes, at typical
slews and loads, before placement. A pulse shorter than a cell's delay does not pass it. Flip-flops
change after their clock, ports 25 ps after it. What nets come to in the end must be what the
simulation without delays says. Python, event by event: about 100,000 cells times cycles a second.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from itertools import pairwise

import numpy as np

from tritloom.arch.errors import MismatchError
from tritloom.hw.cells.netlist import Netlist
from tritloom.hw.cells.timer import CLOCK_SLEW_PS, Timing

from . import energy, play

PORT_PS = 25.0


def count(netlist: Netlist, timing: Timing, recording: play.Recording) -> energy.NetlistActivity:
    """Activity in a recording of all nets, glitches included.

    Raises
    ------
    MismatchError
        A net does not come to its recorded value.
    """
    settled = energy.count(netlist, recording)
    clocks = netlist.clock_nets
    numbers = play.net_numbers(netlist)
    data = [net for net in numbers if net not in clocks]
    bits = np.unpackbits(recording.nets[::2], axis=1, bitorder="little")[:, : len(numbers)]
    samples = np.zeros((len(bits), numbers[-1] + 1), np.uint8)
    samples[:, numbers] = bits
    circuit = _Circuit(netlist, timing, clocks)
    toggles = settled.toggles.copy()
    toggles[data] = 0
    for cycle, (before, after) in enumerate(pairwise(samples)):
        values = before.tolist()
        for net in circuit.play(values, after):
            toggles[net] += 1
        wrong = [net for net in data if values[net] != after[net]]
        if wrong:
            raise MismatchError(f"net {wrong[0]} does not come to its value in cycle {cycle}")
    return energy.NetlistActivity(cycles=settled.cycles, toggles=toggles)


class _Circuit:
    """Logic as functions with delays."""

    def __init__(self, netlist, timing, clocks):
        def delays(arc, slew):
            load = timing.loads_ff[nets[arc.target]]
            return [float(table.at(slew, load)) for table in arc.delays]

        ports = {net for bits in netlist.inputs.values() for net in bits} - clocks
        self._starts = dict.fromkeys(ports, (PORT_PS, PORT_PS))
        # Function, input nets, output net, delays of a rise and of a fall by input net.
        self._gates = []
        self._readers = defaultdict(list)
        for instance in netlist.instances:
            cell, nets = instance.cell, instance.nets
            for output in (pin for pin in cell.outputs if nets.get(pin, -1) >= 0):
                arcs = [arc for arc in cell.arcs if arc.target == output]
                if cell.kind == "flip-flop":
                    self._starts[nets[output]] = delays(arcs[0], CLOCK_SLEW_PS)
                if cell.kind != "logic":
                    continue
                found = defaultdict(list)
                for arc in arcs:
                    source = nets.get(arc.source, -1)
                    if source >= 0:
                        found[source].append(delays(arc, timing.slews_ps[source]))
                inputs = [nets[pin] for pin in cell.inputs]
                function = eval(
                    f"lambda {', '.join(cell.inputs)}: ({cell.pins[output].function}) & 1"
                )
                means = {source: np.mean(each, axis=0).tolist() for source, each in found.items()}
                for net in set(inputs) & means.keys():
                    self._readers[net].append(len(self._gates))
                self._gates.append((function, inputs, nets[output], means))

    def play(self, values, after):
        """Change `values` to what follows from `after`; yield each net that toggles."""
        events, pending, order = [], {}, 0
        for net, delays in self._starts.items():
            if values[net] != after[net]:
                events.append((delays[1 - after[net]], order, -1, net, int(after[net])))
                order += 1
        heapq.heapify(events)
        while events:
            now, which, gate, net, value = heapq.heappop(events)
            # Only the latest event of a gate counts.
            if (gate >= 0 and pending.get(gate) != which) or values[net] == value:
                continue
            values[net] = value
            yield net
            for reader in self._readers.get(net, ()):
                function, inputs, output, delays = self._gates[reader]
                reached = function(*[values[i] if i >= 0 else -1 - i for i in inputs])
                pending[reader] = order
                if reached != values[output]:
                    at = now + delays[net][1 - reached]
                    heapq.heappush(events, (at, order, reader, output, reached))
                order += 1
