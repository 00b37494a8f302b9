"""The control interface: the registers of `arch.regmap` behind AXI4-Lite, and the descriptor queue.

Storage, decoding and reading are made from the table, field by field, according to its access.
What this file adds is what some fields mean: the queue, the counters' snapshot, the interrupt.

Bus. No path leads from an input through to an output within a cycle. A write address and its data
wait for each other in a slot each, so they may come in any order; when both are there and the
last answer is gone, the write is carried out and answered. A read is answered in the next cycle.
Reads change nothing. One write and one read in two cycles at best.

Descriptors. `descriptor_*` offers the oldest one, valid until it is taken; a soft reset alone
takes it back. A push is checked and queued in the cycle in which its write is carried out, so
STATUS tells of it as soon as the write is answered.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from arch import regmap
from arch.config import ArrayConfig
from arch.ports import axil_ports
from arch.regmap import COUNTER_BITS, COUNTERS, QUEUE_DEPTH, REGISTERS, WORD_BITS, Access

OKAY, SLVERR = 0b00, 0b10

# Sticky bits that are set in here; all others are set by an `event_*` port.
_SET_INSIDE = {"QUEUE_OVERFLOW", "BAD_DESCRIPTOR"}


def descriptor_fields(config: ArrayConfig) -> dict[str, int]:
    """Width of each field of a descriptor: m, k, n, and every option."""
    options = {
        field.name.lower(): field.width
        for field in regmap.register("OPTIONS").fields
        if field.name != "RESERVED"
    }
    return {"m": WORD_BITS, "k": config.max_k.bit_length(), "n": WORD_BITS, **options}


def events() -> dict[str, str]:
    """Name and meaning of every sticky bit that the core sets."""
    return {
        field.name.lower(): field.what
        for register in REGISTERS
        for field in register.fields
        if field.access is Access.W1C and field.name not in _SET_INSIDE
    }


def ports(config: ArrayConfig) -> dict[str, tuple]:
    """Members of the component: name -> (direction, width, description)."""
    flow = {"input": In, "output": Out}
    table = {port.name: (flow[port.direction], port.width, port.what) for port in axil_ports()}
    for name, width in descriptor_fields(config).items():
        table[f"descriptor_{name}"] = (Out, width, "of the descriptor that is offered")
    return table | {
        "descriptor_valid": (Out, 1, "a descriptor is offered"),
        "descriptor_ready": (In, 1, "and taken"),
        "busy": (In, 1, "a run is under way; high from the cycle after its descriptor is taken"),
        **{f"event_{name}": (In, 1, f"for one cycle: {what}") for name, what in events().items()},
        "illegal_beat": (In, WORD_BITS, "with event_illegal_code: the beat of the weight stream"),
        **{f"counter_{name.lower()}": (In, COUNTER_BITS, what) for name, what in COUNTERS},
        "soft_reset": (Out, 1, "for one cycle: drop everything, zero the counters"),
        "irq": (Out, 1, "level"),
    }


@dataclass(frozen=True, kw_only=True)
class Sticky:
    """What makes the next value of a W1C field.

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
        """For the field that `value` stores, nothing driven yet."""
        return cls(
            set=Signal(len(value), name=f"{value.name}_set"),
            kept=Signal(len(value), name=f"{value.name}_kept"),
        )


class Registers(wiring.Component):
    """The registers, their bus, and the queue of descriptors.

    Members
    -------
    As in `ports`.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__({name: flow(width) for name, (flow, width, _) in ports(config).items()})

    def elaborate(self, platform):
        m = Module()
        # A read-only field that nothing below drives keeps its reset value: a constant.
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
        sticky = self._write(m, fields)
        self._read(m, fields)
        self._queue(m, fields, sticky)
        self._watch(m, fields, sticky)
        return m

    def _write(self, m, fields):
        """Take writes and carry them out; returns, by name, the `Sticky` of each W1C field."""
        address = Signal(len(self.s_axil_awaddr))
        word = Signal(WORD_BITS)
        mask = Signal(WORD_BITS)
        address_held = Signal()
        word_held = Signal()
        m.d.comb += [self.s_axil_awready.eq(~address_held), self.s_axil_wready.eq(~word_held)]
        with m.If(self.s_axil_awvalid & self.s_axil_awready):
            m.d.sync += [address.eq(self.s_axil_awaddr), address_held.eq(1)]
        with m.If(self.s_axil_wvalid & self.s_axil_wready):
            strobes = Cat(strobe.replicate(8) for strobe in self.s_axil_wstrb)
            m.d.sync += [word.eq(self.s_axil_wdata), mask.eq(strobes), word_held.eq(1)]

        write = Signal()
        writes = {
            register.name: Signal(name=f"write_{register.name.lower()}") for register in REGISTERS
        }
        m.d.comb += write.eq(address_held & word_held & ~self.s_axil_bvalid)
        with m.If(self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)
        with m.If(write):
            m.d.sync += [
                address_held.eq(0),
                word_held.eq(0),
                self.s_axil_bvalid.eq(1),
                self.s_axil_bresp.eq(Mux(Cat(writes.values()).any(), OKAY, SLVERR)),
            ]

        sticky = {}
        for register in REGISTERS:
            hit = writes[register.name]
            m.d.comb += hit.eq(write & (address == register.offset))
            for field in register.fields:
                value = fields[register.name, field.name]
                bits = slice(field.low, field.low + field.width)
                ones = word[bits] & mask[bits]
                if field.access is Access.WO:
                    m.d.comb += value.eq(Mux(hit, ones, 0))
                elif field.access is Access.RW:
                    with m.If(hit):
                        m.d.sync += value.eq(ones | (value & ~mask[bits]))
                elif field.access is Access.W1C:
                    bit = sticky[field.name] = Sticky.create(value)
                    m.d.comb += bit.kept.eq(value & ~Mux(hit, ones, 0))
                    m.d.sync += value.eq(bit.kept | bit.set)
        return sticky

    def _read(self, m, fields):
        """Answer reads."""
        m.d.comb += self.s_axil_arready.eq(~self.s_axil_rvalid)
        with m.If(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
        words = {}
        for register in REGISTERS:
            word = words[register.offset] = Signal(WORD_BITS, name=f"word_{register.name.lower()}")
            for field in register.fields:
                if field.access is not Access.WO:
                    bits = slice(field.low, field.low + field.width)
                    m.d.comb += word[bits].eq(fields[register.name, field.name])
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += self.s_axil_rvalid.eq(1)
            with m.Switch(self.s_axil_araddr):
                for offset, word in words.items():
                    with m.Case(offset):
                        m.d.sync += [self.s_axil_rdata.eq(word), self.s_axil_rresp.eq(OKAY)]
                with m.Default():
                    m.d.sync += [self.s_axil_rdata.eq(0), self.s_axil_rresp.eq(SLVERR)]

    def _queue(self, m, fields, sticky):
        """Check pushed descriptors, keep the good ones, offer the oldest; tell the status."""
        layout = data.StructLayout(descriptor_fields(self.config))
        tokens, k, features = (fields[name, "VALUE"] for name in ("M", "K", "N"))
        pushed = Signal(layout)
        m.d.comb += [pushed.m.eq(tokens), pushed.k.eq(k), pushed.n.eq(features)]
        for name in layout.members.keys() - {"m", "k", "n"}:
            m.d.comb += pushed[name].eq(fields["OPTIONS", name.upper()])

        # Entry 0 is the oldest; the others move up when it is taken. Too few for a memory.
        entries = [Signal(layout, name=f"entry_{index}") for index in range(QUEUE_DEPTH)]
        level = Signal(range(QUEUE_DEPTH + 1))
        left = Signal(range(QUEUE_DEPTH + 1))
        full = Signal()
        bad = Signal()
        push = Signal()
        take = Signal()
        m.d.comb += [
            full.eq(level == QUEUE_DEPTH),
            bad.eq(
                (tokens == 0)
                | (k == 0)
                | (k > self.config.max_k)
                | (features == 0)
                | (fields["OPTIONS", "RESERVED"] != 0)
            ),
            push.eq(fields["PUSH", "GO"] & ~full & ~bad),
            sticky["QUEUE_OVERFLOW"].set.eq(fields["PUSH", "GO"] & full),
            sticky["BAD_DESCRIPTOR"].set.eq(fields["PUSH", "GO"] & bad),
            take.eq(self.descriptor_valid & self.descriptor_ready),
            left.eq(level - take),
            self.descriptor_valid.eq(level != 0),
        ]
        with m.If(take):
            m.d.sync += [entry.eq(next_) for entry, next_ in itertools.pairwise(entries)]
        for index, entry in enumerate(entries):
            with m.If(push & (left == index)):
                m.d.sync += entry.eq(pushed)
        m.d.sync += level.eq(left + push)
        with m.If(self.soft_reset):
            m.d.sync += level.eq(0)

        for name in layout.members:
            m.d.comb += getattr(self, f"descriptor_{name}").eq(entries[0][name])
        m.d.comb += [
            fields["STATUS", "BUSY"].eq(self.busy | self.descriptor_valid),
            fields["STATUS", "FULL"].eq(full),
            fields["STATUS", "LEVEL"].eq(level),
        ]

    def _watch(self, m, fields, sticky):
        """Events and counters of the core; the interrupt."""
        for name in events():
            m.d.comb += sticky[name.upper()].set.eq(getattr(self, f"event_{name}"))
        # The first beat stays until its sticky bit is cleared.
        with m.If(self.event_illegal_code & ~sticky["ILLEGAL_CODE"].kept):
            m.d.sync += fields["FIRST_ILLEGAL", "VALUE"].eq(self.illegal_beat)

        with m.If(fields["CONTROL", "SNAPSHOT"]):
            for name, _ in COUNTERS:
                shown = Cat(fields[f"{name}_LO", "VALUE"], fields[f"{name}_HI", "VALUE"])
                m.d.sync += shown.eq(getattr(self, f"counter_{name.lower()}"))

        runs = fields["STATUS", "RUNS_DONE"]
        m.d.comb += self.soft_reset.eq(fields["CONTROL", "SOFT_RESET"])
        with m.If(self.soft_reset):
            m.d.sync += runs.eq(0)
        with m.Elif(self.event_run_done):
            m.d.sync += runs.eq(runs + 1)

        errors = Cat(fields["ERROR", field.name] for field in regmap.register("ERROR").fields)
        m.d.comb += self.irq.eq(
            (fields["IRQ_ENABLE", "RUN_DONE"] & fields["EVENT", "RUN_DONE"])
            | (fields["IRQ_ENABLE", "ERROR"] & errors.any())
        )
