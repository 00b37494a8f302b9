"""The control interface: the registers of `arch.regmap` behind AXI4-Lite, and the descriptor queue.

Storage, decoding and reading are made from the table, field by field, according to its access.
What this file adds is what some fields mean: the queue, the counters' snapshot, the interrupt.

Bus. No path leads from an input through to an output within a cycle. A write address and its data
wait for each other in a slot each, so they may come in any order; when both are there and the
last answer is gone, the write is carried out and answered. A read is answered two cycles later.
Reads change nothing. A write in two cycles and a read in three at best. While the counters are
copied (`hw/core/counters.py`) no write is answered, and no read taken.

Flushing. A soft reset starts it, in the cycle of its strobe; it ends when RESUME was written and
no stream has anything left. `resumed` says that streams are not to begin a packet any more.

Descriptors. `descriptor_*` offers the oldest one, valid until it is taken; a soft reset alone
takes it back. None is queued while flushing. A push is queued in the cycle in which its write is
carried out, so STATUS tells of it as soon as the write is answered. The cycle before checks what
would be pushed, and puts it into the queue's free place; writes are two cycles apart, so both are
done by then.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, ResetSignal, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch import regmap
from tritloom.arch.config import ArrayConfig
from tritloom.arch.ports import axil_ports
from tritloom.arch.regmap import (
    COUNTERS_OFFSET,
    QUEUE_DEPTH,
    REGISTERS,
    WORD_BITS,
    WORD_BYTES,
    Access,
)
from tritloom.hw.parts.ports import Modules, Ports, members
from tritloom.hw.parts.ram import Ram

from . import counters

OKAY, SLVERR = 0b00, 0b10

# Sticky bits that this component sets; an `event_*` port sets each of the others.
_SET_INSIDE = {"QUEUE_OVERFLOW", "BAD_DESCRIPTOR", "PUSHED_FLUSHING"}


def descriptor_fields(config: ArrayConfig) -> dict[str, int]:
    """The width of each field of a descriptor: m, k, n, and every option."""
    options = {
        field.name.lower(): field.width
        for field in regmap.register("OPTIONS").fields
        if field.name != "RESERVED"
    }
    return {"m": WORD_BITS, "k": config.max_k.bit_length(), "n": WORD_BITS, **options}


def events() -> dict[str, str]:
    """The name and the meaning of every sticky bit that the core sets."""
    return {
        field.name.lower(): field.what
        for register in REGISTERS
        for field in register.fields
        if field.access is Access.W1C and field.name not in _SET_INSIDE
    }


def ports(config: ArrayConfig) -> Ports:
    """Ports of the registers: name -> (direction, width, description)."""
    flow = {"input": In, "output": Out}
    table = {port.name: (flow[port.direction], port.width, port.what) for port in axil_ports()}
    for name, width in descriptor_fields(config).items():
        table[f"descriptor_{name}"] = (Out, width, f"{name} of the descriptor offered")
    return table | {
        "descriptor_valid": (Out, 1, "high while a descriptor is offered"),
        "descriptor_ready": (In, 1, "high when the core takes the descriptor this cycle"),
        "busy": (In, 1, "high from the cycle after a descriptor is taken to the end of the run"),
        **{f"event_{name}": (In, 1, f"strobe, {what}") for name, what in events().items()},
        "illegal_beat": (In, WORD_BITS, "number of the beat that event_illegal_code reports"),
        **counters.counts(config),
        "acts_open": (In, 1, "high while the stream of acts is inside a packet"),
        "weights_open": (In, 1, "high while the stream of weights is inside a packet"),
        "psum_offered": (In, 1, "high while a beat of psums is offered"),
        "soft_reset": (Out, 1, "strobe that drops all waiting runs and clears the counters"),
        "flushing": (Out, 1, "high from soft_reset on until all streams may begin afresh"),
        "resumed": (Out, 1, "high while flushing ends: packets that have begun go on, no others"),
        "irq": (Out, 1, "interrupt, high while a cause that IRQ_ENABLE lets through is set"),
    }


def queue(config: ArrayConfig) -> Ram:
    """The memory of waiting descriptors."""
    return Ram(width=sum(descriptor_fields(config).values()), depth=QUEUE_DEPTH, clocked=False)


@dataclass(frozen=True, kw_only=True)
class Sticky:
    """Signals that make the next value of a W1C field.

    Attributes
    ----------
    set : Signal
        Bits to be set; wins over a clear in the same cycle.
    kept : Signal
        Bits that are set, and not being cleared.
    """

    set: Signal
    kept: Signal

    @classmethod
    def create(cls, value: Signal) -> Sticky:
        """The signals of the field that `value` stores, not driven yet."""
        return cls(
            set=Signal(len(value), name=f"{value.name}_set"),
            kept=Signal(len(value), name=f"{value.name}_kept"),
        )


class Registers(wiring.Component):
    """The registers, their bus, and the queue of descriptors.

    Its members are those of `ports`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__(members(ports(config)))

    def elaborate(self, platform):
        m = Module()
        # A read-only field that nothing below drives is a constant, its reset value.
        known = regmap.constants(self.config)
        fields = {
            (register.name, field.name): Signal(
                field.width,
                init=known[register.name][field.name] if field.reset is None else field.reset,
                name=f"field_{register.name}_{field.name}".lower(),
            )
            for register in REGISTERS
            for field in register.fields
        }
        copying = Signal()
        sticky = self._write(m, fields, copying)
        self._read(m, fields, copying)
        self._queue(m, fields, sticky)
        self._watch(m, fields, sticky)
        return m

    def _write(self, m, fields, copying):
        """Take writes and carry them out; return the `Sticky` of each W1C field by name."""
        # Whether the address held is that of any register, and of which.
        known = Signal()
        named = {
            register.name: Signal(name=f"named_{register.name.lower()}") for register in REGISTERS
        }
        word = Signal(WORD_BITS)
        strobes = Signal(WORD_BYTES)
        address_held = Signal()
        word_held = Signal()
        m.d.comb += [self.s_axil_awready.eq(~address_held), self.s_axil_wready.eq(~word_held)]
        with m.If(self.s_axil_awvalid & self.s_axil_awready):
            m.d.sync += [address_held.eq(1), known.eq(_is_register(self.s_axil_awaddr))]
            for register in REGISTERS:
                m.d.sync += named[register.name].eq(self.s_axil_awaddr == register.offset)
        with m.If(self.s_axil_wvalid & self.s_axil_wready):
            m.d.sync += [
                word.eq(self.s_axil_wdata),
                strobes.eq(self.s_axil_wstrb),
                word_held.eq(1),
            ]

        write = Signal()
        written = Signal()
        m.d.comb += [
            write.eq(address_held & word_held & ~written),
            self.s_axil_bvalid.eq(written & ~copying),
        ]
        with m.If(self.s_axil_bvalid & self.s_axil_bready):
            m.d.sync += written.eq(0)
        with m.If(write):
            m.d.sync += [
                address_held.eq(0),
                word_held.eq(0),
                written.eq(1),
                self.s_axil_bresp.eq(Mux(known, OKAY, SLVERR)),
            ]

        sticky = {}
        for register in REGISTERS:
            hit = Signal(name=f"write_{register.name.lower()}")
            m.d.comb += hit.eq(write & named[register.name])
            for field in register.fields:
                value = fields[register.name, field.name]
                ones = Signal.like(value, name=f"ones_{register.name}_{field.name}".lower())
                for byte, strobe in enumerate(strobes):
                    low, high = (
                        min(max(bit, field.low), field.low + field.width)
                        for bit in (8 * byte, 8 * byte + 8)
                    )
                    bits = slice(low - field.low, high - field.low)
                    m.d.comb += ones[bits].eq(Mux(hit & strobe, word[low:high], 0))
                    if field.access is Access.RW:
                        with m.If(hit & strobe):
                            m.d.sync += value[bits].eq(word[low:high])
                if field.access is Access.WO:
                    m.d.comb += value.eq(ones)
                elif field.access is Access.W1C:
                    bit = sticky[field.name] = Sticky.create(value)
                    m.d.comb += bit.kept.eq(value & ~ones)
                    m.d.sync += value.eq(bit.kept | bit.set)
        return sticky

    def _read(self, m, fields, copying):
        """Answer reads."""
        accept = Signal()
        counter = Signal(WORD_BITS)
        m.submodules.counters = Instance(
            f"{self.prefix}_counters",
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            **{f"i_{name}": getattr(self, name) for name in counters.counts(self.config)},
            i_soft_reset=self.soft_reset,
            i_snapshot=fields["CONTROL", "SNAPSHOT"],
            o_copying=copying,
            i_read_enable=accept,
            i_read_address=_word_index(self.s_axil_araddr)[: (counters.WORDS - 1).bit_length()],
            o_read_data=counter,
        )
        # The words below the counters; bits that nobody reads are zeros.
        words = [Const(0, WORD_BITS)] * (COUNTERS_OFFSET // WORD_BYTES)
        for register in REGISTERS:
            if register.offset < COUNTERS_OFFSET:
                word = words[register.offset // WORD_BYTES] = Signal(
                    WORD_BITS, name=f"word_{register.name.lower()}"
                )
                for field in register.fields:
                    if field.access is not Access.WO:
                        value = fields[register.name, field.name]
                        m.d.comb += word[field.low : field.low + field.width].eq(value)

        # The address taken a cycle ago, and whether it is that of a register.
        taken = Signal()
        known = Signal()
        address = Signal.like(self.s_axil_araddr)
        m.d.comb += [
            self.s_axil_arready.eq(~self.s_axil_rvalid & ~taken & ~copying),
            accept.eq(self.s_axil_arvalid & self.s_axil_arready),
        ]
        m.d.sync += taken.eq(accept)
        with m.If(accept):
            m.d.sync += [
                address.eq(self.s_axil_araddr),
                known.eq(_is_register(self.s_axil_araddr)),
            ]
        with m.If(taken):
            m.d.sync += [
                self.s_axil_rvalid.eq(1),
                self.s_axil_rresp.eq(Mux(known, OKAY, SLVERR)),
                self.s_axil_rdata.eq(
                    Mux(
                        address >= COUNTERS_OFFSET,
                        counter,
                        counters.pick(words, _word_index(address)),
                    )
                ),
            ]
            with m.If(~known):
                m.d.sync += self.s_axil_rdata.eq(0)
        with m.Elif(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)

    def _queue(self, m, fields, sticky):
        """Check pushed descriptors, keep the good ones, offer the oldest; tell the status."""
        layout = data.StructLayout(descriptor_fields(self.config))
        tokens, k, features = (fields[name, "VALUE"] for name in ("M", "K", "N"))
        pushed = Signal(layout)
        m.d.comb += [pushed.m.eq(tokens), pushed.k.eq(k), pushed.n.eq(features)]
        for name in layout.members.keys() - {"m", "k", "n"}:
            m.d.comb += pushed[name].eq(fields["OPTIONS", name.upper()])

        first = Signal(range(QUEUE_DEPTH))
        free = Signal(range(QUEUE_DEPTH))
        level = Signal(range(QUEUE_DEPTH + 1))
        full = Signal()
        bad = Signal()
        push = Signal()
        take = Signal()
        offered = Signal(layout)
        m.submodules.queue = Instance(
            f"{self.prefix}_queue",
            i_clk=ClockSignal(),
            i_write_enable=~full,
            i_write_address=free,
            i_write_data=pushed,
            i_read_address=first,
            o_read_data=offered,
        )
        m.d.comb += [
            full.eq(level == QUEUE_DEPTH),
            push.eq(fields["PUSH", "GO"] & ~full & ~bad & ~self.flushing),
            sticky["PUSHED_FLUSHING"].set.eq(fields["PUSH", "GO"] & self.flushing),
            sticky["QUEUE_OVERFLOW"].set.eq(fields["PUSH", "GO"] & full),
            sticky["BAD_DESCRIPTOR"].set.eq(fields["PUSH", "GO"] & bad),
            take.eq(self.descriptor_valid & self.descriptor_ready),
            self.descriptor_valid.eq(level != 0),
        ]
        m.d.sync += [
            bad.eq(
                (tokens == 0)
                | (k == 0)
                | (k > self.config.max_k)
                | (features == 0)
                | (fields["OPTIONS", "RESERVED"] != 0)
                | fields["OPTIONS", "PSUMS_LAST"].all()
            ),
            level.eq(level + push - take),
            free.eq(free + push),
            first.eq(first + take),
        ]
        with m.If(self.soft_reset):
            m.d.sync += [level.eq(0), free.eq(0), first.eq(0)]

        for name in layout.members:
            m.d.comb += getattr(self, f"descriptor_{name}").eq(offered[name])
        m.d.comb += [
            fields["STATUS", "BUSY"].eq(self.busy | self.descriptor_valid),
            fields["STATUS", "FULL"].eq(full | self.flushing),
            fields["STATUS", "FLUSHING"].eq(self.flushing),
            *(
                fields["STATUS", name].eq(getattr(self, name.lower()))
                for name in ("ACTS_OPEN", "WEIGHTS_OPEN", "PSUM_OFFERED")
            ),
            fields["STATUS", "LEVEL"].eq(level),
        ]

    def _watch(self, m, fields, sticky):
        """Events and counters of the core; the interrupt."""
        for name in events():
            m.d.comb += sticky[name.upper()].set.eq(getattr(self, f"event_{name}"))
        # The number of the first illegal beat stays until the sticky bit is cleared.
        with m.If(self.event_illegal_code & ~sticky["ILLEGAL_CODE"].kept):
            m.d.sync += fields["FIRST_ILLEGAL", "VALUE"].eq(self.illegal_beat)

        runs = fields["STATUS", "RUNS_DONE"]
        m.d.sync += self.soft_reset.eq(fields["CONTROL", "SOFT_RESET"])
        # `resumed` ends every packet, so none may begin in the cycle in which flushing ends.
        quiet = ~(self.acts_open | self.weights_open | self.psum_offered)
        reset, resume = fields["CONTROL", "SOFT_RESET"], fields["CONTROL", "RESUME"]
        m.d.sync += [
            self.flushing.eq(reset | (self.flushing & ~(self.resumed & quiet))),
            self.resumed.eq(~reset & self.flushing & (self.resumed | resume)),
        ]
        with m.If(self.soft_reset):
            m.d.sync += runs.eq(0)
        with m.Elif(self.event_run_done):
            m.d.sync += runs.eq(runs + 1)

        errors = Cat(fields["ERROR", field.name] for field in regmap.register("ERROR").fields)
        m.d.comb += self.irq.eq(
            (fields["IRQ_ENABLE", "RUN_DONE"] & fields["EVENT", "RUN_DONE"])
            | (fields["IRQ_ENABLE", "ERROR"] & errors.any())
        )


def _is_register(address):
    """Whether a register is at this address."""
    return address.matches(*(register.offset for register in REGISTERS))


def _word_index(address):
    return address[(WORD_BYTES - 1).bit_length() :]


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of the registers by name, the top (`prefix`_registers) last."""
    return {
        **counters.modules(config, prefix=prefix),
        f"{prefix}_queue": queue(config),
        f"{prefix}_registers": Registers(config, prefix=prefix),
    }
