"""A carry-save heap: the order in which full adders sum the bits of a dot product, and its stages.

The gateware (hw/parts/asic.py) builds what `schedule` plans, so stages and adders are counted here.

Each lane brings its act, its complement or zero. A sign bit enters as its complement, which is the
same plus a constant: with a power of two of lanes the constants add up to what the inverted top bit
of the sum takes off again. The ones that complete the negations are bits
of weight 1; the first lane's stays out, so that the sum has no bit more than it needs.

Full adders of standard-cell libraries are inverting: three true bits give an inverted sum and an
inverted carry, three inverted ones true ones. So a bit has a polarity, which a register flips as
well, and an adder takes three of one polarity where it can: inverters are rare.
"""

from __future__ import annotations

import functools
import heapq
from dataclasses import dataclass

# What a full adder's outputs take, in units of its carry.
CARRY, SUM = 1, 2


@dataclass(frozen=True)
class Bit:
    """One bit of the heap.

    Attributes
    ----------
    lane, index : int
        Place of a bit of a selected operand; `index` is -1 for the one that completes the lane's
        negation, and `lane` is -1 for what an adder or a register gives.
    column : int
        The bit weighs 2**column.
    stage, time : int
        Registers behind the selects, and units since the last one.
    inverted : bool
        The signal is the bit's complement.
    """

    lane: int
    index: int
    column: int
    stage: int
    time: int
    inverted: bool


@dataclass(frozen=True)
class Step:
    """An adder, a register or an inverter: what makes bits of others.

    Attributes
    ----------
    kind : str
        `full` and `half` adder: (sum, carry) of their inputs, the carry left out in the top column.
        `register`, which flips polarity, and `inverter`.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Heap:
    """Which steps sum the bits of a dot product, in which stages.

    Attributes
    ----------
    bits : tuple of Bit
    steps : tuple of Step
        Inputs of a step are made by steps before it.
    total : tuple of int
        Bits of the sum, `stages` registers behind the selects, low one first.
    stages : int
    """

    bits: tuple[Bit, ...]
    steps: tuple[Step, ...]
    total: tuple[int, ...]
    stages: int

    def count(self, kind: str) -> int:
        """How many steps are of a kind."""
        return sum(step.kind == kind for step in self.steps)


@functools.lru_cache(maxsize=64)
def schedule(lanes: int, act_bits: int, units_per_stage: int) -> Heap:
    """The heap of `lanes` operands of `act_bits`, two's complement.

    Parameters
    ----------
    lanes : int
        A power of two.
    units_per_stage : int
        Carry delays that fit between two registers, at least 2: a sum takes 2.
    """
    planner = _Planner(units_per_stage)
    width = act_bits + (lanes - 1).bit_length()
    columns: list[list[int]] = [[] for _ in range(width)]
    for lane in range(lanes):
        for index in range(act_bits):
            # The sign bit's complement is what is added, and the select gives the sign bit.
            bit = Bit(lane, index, index, 0, 0, index == act_bits - 1)
            columns[index].append(planner.new(bit))
        if lane:
            # The registers of the trits are inverting.
            columns[0].append(planner.new(Bit(lane, -1, 0, 0, 0, True)))
    total = []
    for column, waiting in enumerate(columns):
        queues: tuple[list, list] = ([], [])
        for index in waiting:
            planner.push(queues, index)
        while sum(map(len, queues)) > 1:
            above = columns[column + 1] if column + 1 < width else None
            planner.add(queues, above)
        total.append(next(queue[0][-1] for queue in queues if queue))
    last = max(planner.bits[bit].stage for bit in total) + 1
    outputs = tuple(planner.at(bit, last) for bit in total)
    return Heap(tuple(planner.bits), tuple(planner.steps), outputs, last)


class _Planner:
    def __init__(self, units):
        self.units = units
        self.bits = []
        self.steps = []

    def new(self, bit: Bit) -> int:
        self.bits.append(bit)
        return len(self.bits) - 1

    def push(self, queues, index):
        bit = self.bits[index]
        heapq.heappush(queues[bit.inverted], (bit.stage, bit.time, index))

    def at(self, index: int, stage: int) -> int:
        """Place of the bit behind registers, at the start of a later stage."""
        while self.bits[index].stage < stage:
            bit = self.bits[index]
            made = self.new(Bit(-1, 0, bit.column, bit.stage + 1, 0, not bit.inverted))
            self.steps.append(Step("register", (index,), (made,)))
            index = made
        return index

    def add(self, queues, above):
        """Add a column's earliest three bits, of one polarity if they can be; or its last two."""
        count = min(3, sum(map(len, queues)))
        full = [queue for queue in queues if len(queue) >= count]
        if full:
            queue = min(full, key=lambda queue: heapq.nsmallest(count, queue)[-1])
            taken = [heapq.heappop(queue) for _ in range(count)]
        else:
            taken = [heapq.heappop(queue) for queue in queues for _ in range(len(queue))][:count]
        stage, time = max(entry[:2] for entry in taken)
        if time + SUM > self.units:
            stage, time = stage + 1, 0
        inputs = [self.at(entry[-1], stage) for entry in taken]
        # Two of three bits, or none, decide the polarity.
        polarity = sum(self.bits[index].inverted for index in inputs) * 2 > count
        inputs = [self.turned(index, polarity) for index in inputs]
        column = self.bits[inputs[0]].column
        outputs = [self.new(Bit(-1, 0, column, stage, time + SUM, not polarity))]
        self.push(queues, outputs[0])
        if above is not None:
            outputs.append(self.new(Bit(-1, 0, column + 1, stage, time + CARRY, not polarity)))
            above.append(outputs[1])
        self.steps.append(Step("full" if count == 3 else "half", tuple(inputs), tuple(outputs)))

    def turned(self, index: int, inverted: bool) -> int:
        bit = self.bits[index]
        if bit.inverted == inverted:
            return index
        made = self.new(Bit(-1, 0, bit.column, bit.stage, bit.time, inverted))
        self.steps.append(Step("inverter", (index,), (made,)))
        return made
