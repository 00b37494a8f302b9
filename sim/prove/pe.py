"""What is proved of a PE: its psum is the sum of acts times trits, and no psum overflows.

A ghost walks beside the tree: what each lane stands for, added up without a limit. Each node of the
tree is held to its ghost, by those in front of it; so a tree of any size is proved node by node.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Const, Module, Mux, Signal, Value, signed

from tritloom.arch.config import ArrayConfig, Dataflow, Technology
from tritloom.hw.array import array
from tritloom.hw.emit import emit
from tritloom.hw.verilog import generate_pe

from .formal import ProvedDesign, Statements

TOP = "dut"


@dataclass(frozen=True)
class _Node:
    """Names of a sum and of the carry that is still to be added; the sum's width."""

    sum: str
    carry: str
    width: int


def _rounds(config: ArrayConfig) -> list[tuple[bool, list[_Node]]]:
    """The tree from its lanes to its root: whether it is a round of registers, and its nodes."""
    nodes = [_Node(f"operand_{i}", f"negative_{i}", config.act_bits) for i in range(config.lanes)]
    rounds = [(False, nodes)]

    def register(level):
        made = [
            _Node(f"sum_{level}_{i}", f"carry_{level}_{i}", node.width)
            for i, node in enumerate(rounds[-1][1])
        ]
        rounds.append((True, made))

    if config.select_stages:
        register(0)
    for level in range(1, config.tree_levels + 1):
        nodes = rounds[-1][1]
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        added = [
            _Node(f"added_{level}_{i}", second.carry, config.act_bits + level)
            for i, (_, second) in enumerate(pairs)
        ]
        rounds.append((False, added + nodes[2 * len(added) :]))
        if level % config.levels_per_stage == 0 or level == config.tree_levels:
            register(level)
    return rounds


def design(config: ArrayConfig) -> ProvedDesign:
    """One PE of an array whose adders are operators."""
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    seen = {"accumulator": config.psum_bits} if output else {"active": 2 * config.lanes}
    for registers, nodes in _rounds(config):
        for node in nodes:
            seen[node.sum] = node.width
            if registers:
                seen[node.carry] = 1
    verilog, _ = emit({TOP: array.make_pe(config, prefix=TOP)}, top=TOP)
    return ProvedDesign(verilog=verilog, top=TOP, seen=seen)


@dataclass(frozen=True)
class _Ghost:
    """What a node stands for: a sum, and the number of trits in it that are not zero."""

    value: Value
    count: Value

    def __add__(self, other: _Ghost) -> _Ghost:
        return _Ghost(self.value + other.value, self.count + other.count)

    def kept(self, m: Module, name: str, *, register: bool, enable: Value) -> _Ghost:
        """Ghost in signals of its own, a cycle later where there is a register."""
        value = Signal(self.value.shape(), name=f"{name}_value")
        count = Signal(self.count.shape(), name=f"{name}_count")
        assigned = [value.eq(self.value), count.eq(self.count)]
        if register:
            with m.If(enable):
                m.d.sync += assigned
        else:
            m.d.comb += assigned
        return _Ghost(value, count)

    def bounded(self, config: ArrayConfig) -> Value:
        """Whether the sum is no larger than so many acts can make it."""
        limit = self.count << (config.act_bits - 1)
        return (self.value <= limit) & (self.value >= -limit)


def sums(config: ArrayConfig) -> Statements:
    """The psum is the exact one, for any acts and trits, at most max_k of which are not zero."""
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY

    def statements(m: Module, s: dict[str, Signal]) -> None:
        advance = Const(1, 1) if output else s["advance"]
        trits = (
            s["active"]
            if not output
            else s["trits_south" if config.input_stages else "trits_north"]
        )
        s |= {f"negative_{lane}": trits[2 * lane + 1] for lane in range(config.lanes)}
        root, filled = _tree(m, s, config, trits, advance)
        if output:
            _accumulator(m, s, config, root, filled)
        else:
            _passing(m, s, config, root, filled)

    return statements


def _tree(m, s, config, trits, advance):
    """The ghost of the root, and whether what it stands for has come after the reset."""
    filled = Signal(config.tree_stages + 1, init=1)
    with m.If(advance):
        m.d.sync += filled.eq(filled << 1 | 1)
    ghosts = []
    for lane in range(config.lanes):
        act = s["acts"].word_select(lane, config.act_bits).as_signed()
        code = trits.word_select(lane, 2)
        value = Mux(code == 0b01, act, Mux(code == 0b11, -act, 0))
        ghosts.append(_Ghost(value, code[0]))
    stage = 0
    for number, (registers, nodes) in enumerate(_rounds(config)):
        if number and not registers:
            pairs = len(ghosts) // 2
            ghosts = [ghosts[2 * i] + ghosts[2 * i + 1] for i in range(pairs)] + ghosts[2 * pairs :]
        stage += registers
        for index, (node, ghost) in enumerate(zip(nodes, ghosts, strict=True)):
            name = f"ghost_{number}_{index}"
            ghosts[index] = ghost = ghost.kept(m, name, register=registers, enable=advance)
            sound = (s[node.sum].as_signed() + s[node.carry] == ghost.value) & ghost.bounded(config)
            m.d.comb += Assert(~filled[stage] | sound, node.sum)
    return ghosts[0], filled[stage]


def _accumulator(m, s, config, root, filled):
    """Held to an exact sum of what came since `first`."""
    extreme = config.max_k << (config.act_bits - 1)
    total = _Ghost(Signal(signed(extreme.bit_length() + 2)), Signal(range(config.max_k + 1)))
    started = Signal()
    valid, first = s["valid"][0], s["first"][0]
    # The array sends no `valid` before a beat has come through the tree, and begins with a `first`.
    following = root + _Ghost(Mux(first, 0, total.value), Mux(first, 0, total.count))
    m.d.comb += [
        Assume(~valid | (filled & (started | first))),
        Assume(~valid | (following.count <= config.max_k)),
        Assert(total.bounded(config) & (total.count <= config.max_k), "bound"),
    ]
    with m.If(valid):
        m.d.sync += [
            total.value.eq(following.value),
            total.count.eq(following.count),
            started.eq(1),
        ]
    if config.accumulator_stages:
        whole, complete = _halves(m, s, total.value, started)
    else:
        whole, complete = total.value, started
        m.d.comb += Assert(~started | (s["accumulator"].as_signed() == whole), "accumulator")
    drained, loaded = Signal.like(total.value), Signal()
    with m.If(s["load"]):
        m.d.sync += [drained.eq(whole), loaded.eq(complete)]
    if config.rows > 1:
        with m.Elif(s["shift"]):
            m.d.sync += [drained.eq(s["psum_north"].as_signed()), loaded.eq(1)]
    right = s["psum_south"].as_signed() == drained
    m.d.comb += Assert(~loaded | right, "drain register")


def _halves(m, s, total, started):
    """The upper half a cycle late; the psum of a cycle ago, and whether there is one."""
    before, begun = Signal.like(total), Signal()
    m.d.sync += [before.eq(total), begun.eq(started)]
    for name in ("valid", "first"):
        late = Signal(name=f"{name}_late")
        m.d.sync += late.eq(s[name][0])
        m.d.comb += Assume(s[name][1] == late)
    low = len(s["lower"])
    upper = s["upper"].as_signed() == before >> low
    m.d.comb += [
        Assert(~started | (s["lower"] == total[:low]), "lower half"),
        Assert(~begun | upper, "upper half"),
    ]
    return before, begun


def whole_design(config: ArrayConfig) -> ProvedDesign:
    """One PE whose adders are instances."""
    rtl = generate_pe(config, name=TOP)
    if config.accumulator_stages:
        low = config.psum_bits // 2 | 1
        seen = {"lower": low, "upper": config.psum_bits - low}
    else:
        seen = {"accumulator": config.psum_bits}
    return ProvedDesign(verilog=rtl.verilog, top=rtl.top, seen=seen)


def whole_depth(config: ArrayConfig) -> int:
    """Cycles after which nothing is left in the tree of what was there before."""
    return config.tree_stages + 1


def whole_sums(config: ArrayConfig) -> Statements:
    """State that the psum is the sum, of a tree as a whole, whose nodes are not looked into."""
    one_hot = config.technology == Technology.ASIC

    def statements(m: Module, s: dict[str, Signal]) -> None:
        stages = config.tree_stages - config.accumulator_stages
        filled = Signal(stages + 1, init=1)
        m.d.sync += filled.eq(filled << 1 | 1)
        trits = s["trits_south" if config.input_stages else "trits_north"]
        ghosts = []
        for delay, lanes in enumerate(config.lane_groups):
            for lane in lanes:
                act = s["acts"].word_select(lane, config.act_bits).as_signed()
                code = trits.word_select(lane, 2)
                plus, minus = (0b01, 0b10) if one_hot else (0b01, 0b11)
                if one_hot:
                    # The array makes them of codes, each of which is one of three trits.
                    m.d.comb += Assume(code != 0b11)
                value = Mux(code == plus, act, Mux(code == minus, -act, 0))
                ghost = _Ghost(value, (code == plus) | (code == minus))
                for stage in range(stages - delay):
                    name = f"ghost_{lane}_{stage}"
                    ghost = ghost.kept(m, name, register=True, enable=Const(1, 1))
                ghosts.append(ghost)
        _accumulator(m, s, config, functools.reduce(operator.add, ghosts), filled[-1])

    return statements


def _passing(m, s, config, root, filled):
    """A psum from the north, within what its trits can make it, and this PE's sum."""
    north = _Ghost(s["psum_north"].as_signed(), Signal(range(config.max_k + 1), name="north_count"))
    total = root + north
    m.d.comb += [
        north.count.eq(AnySeq(len(north.count))),
        Assume(north.bounded(config)),
        Assume(total.count <= config.max_k),
    ]
    kept = total.kept(m, "psum", register=True, enable=s["advance"])
    ready = Signal()
    with m.If(s["advance"]):
        m.d.sync += ready.eq(filled)
    sound = (s["psum_south"].as_signed() == kept.value) & kept.bounded(config)
    m.d.comb += Assert(~ready | sound, "psum")
