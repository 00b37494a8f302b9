"""What is proved of an output-stationary array: its psums are the product, in order, and hold."""

from __future__ import annotations

from amaranth.hdl import Array, Assert, Assume, Cat, Module, Mux, Signal, signed

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.hw.parts.popcount import halves
from tritloom.hw.verilog import generate

from .formal import ProvedDesign, Statements
from .streams import cut, holds


def design(config: ArrayConfig) -> ProvedDesign:
    """An array."""
    rtl = generate(config, name="dut")
    seen = {"waiting": timing.drain_latency(config) - 1, "ended": 1, "first": 1}
    seen |= {"left": config.rows.bit_length()}
    for path in _paths(config).values():
        seen |= {f"{path}.accumulator": config.psum_bits, f"{path}.psum_south": config.psum_bits}
    return ProvedDesign(verilog=rtl.verilog, top=rtl.top, seen=seen)


def _paths(config):
    """(token, column) -> the PE's path; token 0 is in the southernmost row."""

    def rows(path, count):
        if count == 1:
            return [path]
        north, south = halves(count)
        return rows(f"{path}.north", north) + rows(f"{path}.south", south)

    shared = config.cols_per_hop
    return {
        (token, col): f"{row}.hop_{col // shared}.pe_{col % shared}"
        for token, row in enumerate(reversed(rows("rows", config.rows)))
        for col in range(config.cols)
    }


def depth(config: ArrayConfig) -> int:
    """Cycles after which nothing is left in the skew of what was there before."""
    return timing.drain_latency(config) + 1


def product(config: ArrayConfig) -> Statements:
    """Each tile's psums are its products, token 0 first, and stay until they are taken."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        beat = s["acts_valid"] & s["acts_ready"]
        ends = beat & s["acts_last"]
        tokens = s["acts_tokens"]
        m.d.comb += [
            Assume(~s["acts_valid"] | ((tokens >= 1) & (tokens <= config.rows))),
            Assert(beat == (s["trits_valid"] & s["trits_ready"]), "acts and trits together"),
        ]
        taken = s["psums_valid"] & s["psums_ready"]
        waiting, left = s["waiting"], s["left"]
        m.d.comb += [
            Assert(s["ended"] == (waiting.any() | s["psums_valid"]), "ended"),
            Assert((waiting & (waiting - 1)) == 0, "one tile at a time"),
            Assert(~(waiting.any() & s["psums_valid"]), "and none before it is complete"),
            Assert(~s["ended"] | ((left >= 1) & (left <= config.rows)), "left"),
        ]
        # Tokens that have left.
        gone = Signal(range(config.rows + 1))
        wanted = Signal.like(tokens, name="wanted")
        with m.If(ends):
            m.d.sync += [gone.eq(0), wanted.eq(tokens)]
        with m.Elif(taken):
            m.d.sync += gone.eq(gone + 1)
        m.d.comb += Assert(
            ~s["ended"] | ((gone + left == wanted) & (wanted <= config.rows)),
            "as many as asked for",
        )
        m.d.comb += Assert(s["psums_last"] == (s["psums_valid"] & (gone + 1 == wanted)), "last")
        finished = _products(m, s, config, beat, ends, gone)
        holds(m, "psums", s["psums_valid"], s["psums_ready"], s["psums_data"], s["psums_last"])
        for col, psum in enumerate(cut(s["psums_data"], config.cols)):
            right = psum == Array(finished[token, col] for token in range(config.rows))[gone]
            m.d.comb += Assert(~s["psums_valid"] | right, f"psum {col}")

    return statements


def _products(m, s, config, beat, ends, gone):
    """Products of the tile that ended last; all PEs are held to theirs."""
    first = Signal(init=1)
    with m.If(beat):
        m.d.sync += first.eq(s["acts_last"])
    started = Signal()
    m.d.sync += started.eq(started | beat)
    m.d.comb += [
        Assert(s["first"] == first, "first"),
        Assert(started | first, "started"),
    ]
    finished = {}
    for (token, col), path in _paths(config).items():
        name = f"{token}_{col}"
        total = Signal(signed(config.psum_bits), name=f"total_{name}")
        after = Signal.like(total, name=f"after_{name}")
        terms = []
        for lane in range(config.lanes):
            act = s["acts_data"].word_select(token * config.lanes + lane, config.act_bits)
            code = s["trits_data"].word_select(col * config.lanes + lane, 2)
            signed_act = act.as_signed()
            terms.append(Mux(code == 0b01, signed_act, Mux(code == 0b11, -signed_act, 0)))
        m.d.comb += after.eq(Mux(first, 0, total) + sum(terms))
        with m.If(beat):
            m.d.sync += total.eq(after)
        finished[token, col] = done = Signal(config.psum_bits, name=f"finished_{name}")
        with m.If(ends):
            m.d.sync += done.eq(after)
        # The PE adds it so many cycles later.
        cycles = config.rows - 1 - token + col // config.cols_per_hop
        cycles += config.input_stages + config.tree_stages
        expected, known = _delayed(m, name, Cat(total, started), cycles)
        accumulator = s[f"{path}.accumulator"]
        m.d.comb += Assert(~known | (accumulator == expected), f"accumulator {name}")
    for (token, col), path in _paths(config).items():
        place = token + gone
        right = (
            s[f"{path}.psum_south"]
            == Array(finished[other, col] for other in range(config.rows))[place]
        )
        relevant = s["psums_valid"] & (place < config.rows)
        m.d.comb += Assert(~relevant | right, f"drain register {token} {col}")
    return finished


def _delayed(m, name, value, cycles):
    """A value of a number of cycles ago, and its last bit apart."""
    for cycle in range(cycles):
        kept = Signal(len(value), name=f"delayed_{name}_{cycle}")
        m.d.sync += kept.eq(value)
        value = kept
    return value[:-1], value[-1]
