"""The array's parameters, and every width and depth that follows from them.

This file is the source of truth for widths: the gateware, the golden model and the cost model
read them here.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from . import heap
from .errors import InputError, require_int

# Default of `buffer_tokens`, chosen by bytes: with the default `max_k` the act buffer is 512 KiB,
# as that of an output-stationary core of 16 rows is. With 512 tokens, which share the weights of a
# whole prompt, it would be 16 MiB. 16 tokens also last as long as 16 rows take to load their trits.
BUFFER_TOKENS = 16


class Dataflow(enum.StrEnum):
    """What stays in a PE while the rest streams past."""

    OUTPUT_STATIONARY = "output-stationary"
    WEIGHT_STATIONARY = "weight-stationary"


class Technology(enum.StrEnum):
    """What the PE's adders are made of."""

    # Operators, which synthesis maps to what the target has.
    GENERIC = "generic"
    # Carry cells of Lattice ECP5.
    ECP5 = "ecp5"
    # Full adders of a standard-cell library, as a carry-save heap.
    ASIC = "asic"


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """Parameters of one ternary array.

    Attributes
    ----------
    rows, cols : int
        PEs down (tokens where outputs are stationary, slices of k where weights are) and across
        (output features).
    lanes : int
        Trit x act slots of one PE's adder tree.
    act_bits : int
        Width of a two's complement act.
    max_k : int
        Largest reduction length the accumulator must hold without overflow.
    cols_per_hop : int
        Neighbouring columns that share one set of act registers; divides `cols`. 1 is the
        textbook systolic array.
    input_stages : int
        Registers between the array's ports and the first selects, 1 or 0: with 0, acts and trits
        should come from registers. 0 is for output-stationary arrays.
    levels_per_stage : int
        Adder-tree levels between two pipeline registers.
    select_stages : int
        Pipeline registers between the selects and the first adders, 0 or 1.
    clock_hz : float
        Clock assumed when cycles are turned into seconds.
    dataflow : Dataflow
        Or its text.
    buffer_tokens : int
        Tokens that share a tile of a weight-stationary array: its output buffer holds their psums,
        and its core's act buffer their acts. An output-stationary array has no such buffer.
    technology : Technology
        Or its text. `ecp5` and `asic` are for output-stationary arrays, and for powers of two of
        lanes.
    lanes_per_chain : int
        Lanes that a chain of adders sums one after the other, with technology ecp5; at most
        `lanes` count. Both are powers of two there. A tree sums the chains.
    lanes_per_stage : int
        Lanes that such a chain adds between two pipeline registers.
    hosted_selects : int
        Bits of the select that a chain starts with, at most, that go into carry cells of its
        adders which have a half to spare: fewer LUTs, longer routes. With technology ecp5.
    carries_per_stage : int
        With technology asic: delays of a full adder's carry between two pipeline registers, at
        least 2; its sum takes 2. Where a psum has more bits, its accumulator adds in two halves.
    diagnostics : bool
        The array counts cycles by what they were spent on, and flags illegal trit codes. Without,
        those outputs stay 0; a core needs them.

    Raises
    ------
    InputError
        A parameter is out of its range.
    """

    rows: int
    cols: int
    lanes: int
    act_bits: int = 8
    max_k: int = 32768
    cols_per_hop: int = 1
    input_stages: int = 1
    levels_per_stage: int = 2
    select_stages: int = 0
    clock_hz: float = 500e6
    dataflow: Dataflow = Dataflow.OUTPUT_STATIONARY
    buffer_tokens: int = BUFFER_TOKENS
    technology: Technology = Technology.GENERIC
    lanes_per_chain: int = 8
    lanes_per_stage: int = 1
    hosted_selects: int = 8
    carries_per_stage: int = 16
    diagnostics: bool = True

    def __post_init__(self):
        for name in ("rows", "cols", "lanes"):
            require_int(name, getattr(self, name), high=1024)
        require_int("act_bits", self.act_bits, low=2, high=16)
        require_int("max_k", self.max_k, high=1 << 30)
        require_int("cols_per_hop", self.cols_per_hop)
        require_int("input_stages", self.input_stages, low=0, high=1)
        require_int("levels_per_stage", self.levels_per_stage)
        require_int("select_stages", self.select_stages, low=0, high=1)
        require_int("lanes_per_chain", self.lanes_per_chain, high=1024)
        require_int("lanes_per_stage", self.lanes_per_stage)
        require_int("hosted_selects", self.hosted_selects, low=0)
        require_int("carries_per_stage", self.carries_per_stage, low=heap.SUM)
        if self.cols % self.cols_per_hop:
            raise InputError(
                f"cols_per_hop must divide cols = {self.cols}, which {self.cols_per_hop} does not"
            )
        clock = self.clock_hz
        if isinstance(clock, bool) or not isinstance(clock, int | float) or not 0 < clock < 1e12:
            raise InputError(f"clock_hz must be a number of hertz above 0, not {clock!r}")
        for name, kind in (("dataflow", Dataflow), ("technology", Technology)):
            value = getattr(self, name)
            if value not in list(kind):
                raise InputError(f"{name} must be {' or '.join(kind)}, not {value!r}")
            object.__setattr__(self, name, kind(value))
        require_int("buffer_tokens", self.buffer_tokens, high=1 << 16)
        if not isinstance(self.diagnostics, bool):
            raise InputError(f"diagnostics must be true or false, not {self.diagnostics!r}")
        if self.dataflow != Dataflow.OUTPUT_STATIONARY and self.input_stages == 0:
            raise InputError(
                f"input_stages must be 1 in a {self.dataflow} array, whose PEs keep their trits"
            )
        if self.technology != Technology.GENERIC:
            self._check_technology()

    def _check_technology(self):
        if self.dataflow != Dataflow.OUTPUT_STATIONARY:
            raise InputError(
                f"technology {self.technology} is for {Dataflow.OUTPUT_STATIONARY} arrays, "
                f"not {self.dataflow} ones"
            )
        ecp5 = self.technology == Technology.ECP5
        if not ecp5 and self.select_stages:
            raise InputError(f"select_stages must be 0 with technology {self.technology}, not 1")
        if ecp5 and self.lanes == 1 and not (self.input_stages or self.select_stages):
            raise InputError(
                f"input_stages must be 1 with technology {self.technology} and 1 lane, not 0"
            )
        for name in ("lanes", "lanes_per_chain") if ecp5 else ("lanes",):
            value = getattr(self, name)
            if value & value - 1:
                raise InputError(
                    f"{name} must be a power of two with technology {self.technology}, not {value}"
                )

    @property
    def psum_bits(self) -> int:
        """Width of a two's complement psum that holds max_k products of the largest magnitude.

        The extreme is max_k * 2**(act_bits - 1), reached with trit -1 on the most negative act.
        """
        extreme = self.max_k << (self.act_bits - 1)
        return extreme.bit_length() + 1

    @property
    def hops(self) -> int:
        """Act registers along one row."""
        return self.cols // self.cols_per_hop

    @property
    def group_tokens(self) -> int:
        """Most tokens that share one pass of the weights."""
        output = self.dataflow == Dataflow.OUTPUT_STATIONARY
        return self.rows if output else self.buffer_tokens

    @property
    def slices_per_tile(self) -> int:
        """Slices of k that a tile is padded to a multiple of: the rows, where they are slices."""
        return 1 if self.dataflow == Dataflow.OUTPUT_STATIONARY else self.rows

    @property
    def act_buffer_beats(self) -> int:
        """Depth of the core's act buffer: a group of tokens of max_k input features.

        A beat is `rows` x `lanes` acts: a slice of every token, or a tile's slices of one token.
        """
        output = self.dataflow == Dataflow.OUTPUT_STATIONARY
        beats = -(-self.max_k // (self.slices_per_tile * self.lanes))
        return beats if output else beats * self.buffer_tokens

    @property
    def tree_levels(self) -> int:
        """Levels of two-input adders that sum `lanes` operands."""
        return (self.lanes - 1).bit_length()

    @property
    def chain_lanes(self) -> int:
        """Lanes that enter one chain of adders: 1 where all adders are a tree."""
        ecp5 = self.technology == Technology.ECP5
        return min(self.lanes_per_chain, self.lanes) if ecp5 else 1

    @property
    def lane_groups(self) -> tuple[range, ...]:
        """Lanes by how many cycles their acts and trits come after lane 0's: 0, 1, and so on.

        Chain c has lanes c, c + chains, c + 2 * chains and so on, one after the other.
        """
        chains = self.lanes // self.chain_lanes
        last = self.chain_lanes - 1
        stages = -(-last // self.lanes_per_stage)
        # Places in a chain that enter by the end of each stage; two enter the first adder.
        ends = [min(stage * self.lanes_per_stage, last) + 1 for stage in range(1, stages + 1)]
        if self.select_stages or not ends:
            ends.insert(0, 1)
        starts = [0, *ends]
        return tuple(
            range(start * chains, end * chains) for start, end in zip(starts, ends, strict=False)
        )

    @property
    def tree_stages(self) -> int:
        """Pipeline registers between the first selects and the whole accumulator.

        The last one is between its lower and its upper half where there are `accumulator_stages`.
        """
        if self.technology == Technology.ASIC:
            plan = heap.schedule(self.lanes, self.act_bits, self.carries_per_stage)
            return plan.stages + self.accumulator_stages
        chain = self.chain_lanes
        levels = (self.lanes - 1).bit_length() - (chain - 1).bit_length()
        chain_stages = -(-(chain - 1) // self.lanes_per_stage)
        stages = -(-levels // self.levels_per_stage)
        return self.select_stages + chain_stages + stages + self.accumulator_stages

    @property
    def accumulator_stages(self) -> int:
        """Cycles from adding to the accumulator's lower bits to adding to its upper ones."""
        if self.technology == Technology.ASIC:
            return int(self.psum_bits > self.carries_per_stage)
        return int(self.technology == Technology.ECP5)

    @property
    def tree_bits(self) -> int:
        """Width of the tree's two's complement sum.

        One bit a level is enough: a negated act enters as its complement, in the range of an act,
        and of the ones that complete the negations one stays outside the sum (see hw/array/pe.py).
        """
        return self.act_bits + self.tree_levels

    @property
    def macs_per_cycle(self) -> int:
        """Ternary multiply-accumulates in one cycle of a full array."""
        return self.rows * self.cols * self.lanes

    @property
    def acts_bits(self) -> int:
        """Width of one beat of the act stream."""
        return self.rows * self.lanes * self.act_bits

    @property
    def trits_bits(self) -> int:
        """Width of one beat of the trit stream."""
        return self.cols * self.lanes * 2

    @property
    def psums_bits(self) -> int:
        """Width of one beat of the psum stream."""
        return self.cols * self.psum_bits

    @property
    def shape(self) -> str:
        """`rows` x `cols` x `lanes` as text."""
        return f"{self.rows}x{self.cols}x{self.lanes}"

    def replace(self, **changes) -> ArrayConfig:
        """A copy with some parameters changed; derived values follow."""
        return dataclasses.replace(self, **changes)


def _ecp5(*, rows: int) -> ArrayConfig:
    return ArrayConfig(
        rows=rows,
        cols=16,
        lanes=64,
        cols_per_hop=16,
        technology=Technology.ECP5,
        lanes_per_chain=4,
        levels_per_stage=1,
        input_stages=0,
    )


# Each comment states the result: multiply-accumulates a cycle, and cycles from the last beat of a
# tile to its first psum. tests/arch/test_config.py recomputes both.
PRESETS = {
    # 16 a cycle, 6 cycles latency
    "tiny": ArrayConfig(rows=2, cols=2, lanes=4),
    # 256 a cycle, 20 cycles latency
    "decode": ArrayConfig(rows=1, cols=16, lanes=16),
    # Four engines of 80 trits, as the BitNet accelerator that was measured on a KV260 has:
    # 320 a cycle, 7 cycles latency
    "kv260": ArrayConfig(rows=1, cols=4, lanes=80, cols_per_hop=4, clock_hz=250e6),
    # 4096 a cycle, 35 cycles latency
    "base": ArrayConfig(rows=16, cols=16, lanes=16),
    # Keeps pace with 2 TB/s of weights at 2 bit, as an A100's DRAM gives:
    # 65536 a cycle, 24 cycles latency
    "large": ArrayConfig(rows=4, cols=256, lanes=64, cols_per_hop=16),
    # The carry cells of an ECP5, a fifth of an LFE5U-85F:
    # 1024 a cycle, 10 cycles latency
    "ecp5": _ecp5(rows=1),
    # All of an LFE5U-85F:
    # 4096 a cycle, 13 cycles latency
    "ecp5_full": _ecp5(rows=4),
    # The knee of area and clock in a 7 nm library (docs/asap7.md): with 8 columns to a set of act
    # registers it reaches 1.2 GHz, with 16 it does not.
    # 2048 a cycle, 8 cycles latency
    "asic": ArrayConfig(
        rows=1,
        cols=16,
        lanes=128,
        cols_per_hop=8,
        technology=Technology.ASIC,
        carries_per_stage=15,
        clock_hz=1.2e9,
    ),
}


def preset(name: str) -> ArrayConfig:
    """The configuration of a preset.

    Parameters
    ----------
    name : str
        A key of `PRESETS`, such as "base".

    Returns
    -------
    ArrayConfig

    Raises
    ------
    InputError
        There is no preset of that name; the message lists those that there are.
    """
    try:
        return PRESETS[name]
    except (KeyError, TypeError):
        raise InputError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}") from None
