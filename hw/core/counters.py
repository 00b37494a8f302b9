"""The core's counters: 64 bits each, in a memory, and a copy of all at once for software.

    counts --> low bits --> held --> walker <--> totals
                                       `-------> copy --> bus

As many 64-bit registers, a copy of each, and a multiplexer of their words would be the larger half
of a small core. So registers count the low bits alone. All are held at the start of a round, and
the walker passes a word of the totals a cycle: it adds what a counter has gone on since the round
before, which the low bits tell modulo their range, and the carry to its upper word. Each round thus
leaves the totals of one and the same cycle. The round after a snapshot is asked for goes into the
copy too.
"""

from __future__ import annotations

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Instance,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.config import ArrayConfig
from tritloom.arch.regmap import COUNTERS, WORD_BITS
from tritloom.hw.parts.ports import Modules, Ports, inner_domain, members
from tritloom.hw.parts.ram import Ram

# Words of the totals, two for each counter and some that nobody reads; also cycles of a round.
WORDS = 1 << (2 * len(COUNTERS) - 1).bit_length()


def _positions(config):
    """The largest step of a counter in one cycle."""
    return config.cols * config.lanes


def counts(config: ArrayConfig) -> Ports:
    """Ports with the step of each counter: name -> (direction, width, description)."""
    most = {"TRITS": _positions(config), "ZERO_TRITS": _positions(config)}
    return {
        f"count_{name.lower()}": (In, most.get(name, 1).bit_length(), f"step of the counter {name}")
        for name, _ in COUNTERS
    }


def ports(config: ArrayConfig) -> Ports:
    """Ports of the counters: name -> (direction, width, description)."""
    return counts(config) | {
        "soft_reset": (In, 1, "strobe that clears the totals, not the copy"),
        "snapshot": (In, 1, "strobe that has the totals of a later cycle copied"),
        "copying": (Out, 1, "high until the copy is complete"),
        "read_enable": (In, 1, "high to read a word of the copy"),
        "read_address": (In, (WORDS - 1).bit_length(), "index of the word of the copy to read"),
        "read_data": (Out, WORD_BITS, "word read a cycle ago, kept until the next read"),
    }


def totals() -> Ram:
    """The memory of the totals; the copy has another one like it."""
    return Ram(width=WORD_BITS, depth=WORDS)


def pick(words: list[Value], index: Value) -> Value:
    """A multiplexer of words; the index must be that of a word."""
    if len(words) == 1:
        return words[0]
    bit = (len(words) - 1).bit_length() - 1
    return Mux(index[bit], pick(words[1 << bit :], index), pick(words[: 1 << bit], index))


class Counters(wiring.Component):
    """The counters of `arch.regmap.COUNTERS`.

    Its members are those of `ports`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__(members(ports(config)))

    def elaborate(self, platform):
        m = Module()
        inner_domain(m, ResetSignal() | self.soft_reset)
        turn = Signal(range(WORDS))
        round_ends = Signal()
        m.d.comb += round_ends.eq(turn == WORDS - 1)
        m.d.inner += turn.eq(turn + 1)

        # Bits that hold the steps of any counter in a round.
        bits = (WORDS * _positions(self.config)).bit_length()
        held = []
        for name in counts(self.config):
            low = Signal(bits, name=f"low_{name}")
            held.append(Signal(bits, name=f"held_{name}"))
            m.d.inner += low.eq(low + getattr(self, name))
            with m.If(round_ends):
                m.d.inner += held[-1].eq(low)

        # Read a word of the totals; take the difference; add and write.
        word = Signal(WORD_BITS)
        read = Signal.like(turn)
        last = Signal(WORD_BITS)
        written = Signal.like(turn)
        total = Signal(WORD_BITS)
        gone = Signal(bits)
        carry = Signal()
        # High in the first round after a reset, in which the content of the memory is undefined.
        fresh = Signal(init=1)
        m.d.inner += [read.eq(turn), written.eq(read), fresh.eq(fresh & (read != WORDS - 1))]
        picked = Signal(bits)
        m.d.inner += picked.eq(pick(held, turn[1:]))
        difference = picked - word
        m.d.inner += [
            last.eq(Mux(fresh, 0, word)),
            gone.eq(Mux(fresh, 0, Mux(read[0], carry, difference))),
        ]
        m.d.comb += Cat(total, carry).eq(last + gone)
        self._ram(m, "totals", write=1, address=written, data=total, read=(1, turn, word))

        wanted = Signal()
        # High after a reset, so that the copy becomes zeros.
        copied = Signal(init=1)
        with m.If(round_ends):
            m.d.sync += [copied.eq(wanted), wanted.eq(0)]
        with m.If(self.snapshot):
            m.d.sync += wanted.eq(1)
        m.d.comb += self.copying.eq(wanted | copied)
        self._ram(
            m,
            "copy",
            # The last words written belong to the next round, and to no counter.
            write=copied,
            address=written,
            data=total,
            read=(self.read_enable, self.read_address, self.read_data),
        )
        return m

    def _ram(self, m, name, *, write, address, data, read):
        """Add an instance of the memory."""
        m.submodules[name] = Instance(
            f"{self.prefix}_totals",
            i_clk=ClockSignal(),
            i_write_enable=write,
            i_write_address=address,
            i_write_data=data,
            i_read_enable=read[0],
            i_read_address=read[1],
            o_read_data=read[2],
        )


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of the counters by name, the top (`prefix`_counters) last."""
    return {f"{prefix}_totals": totals(), f"{prefix}_counters": Counters(config, prefix=prefix)}
