"""A UART, 8 bits, no parity, one stop bit: bytes off a line, and onto one."""

from amaranth.hdl import C, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.board import Board
from tritloom.hw.parts.ports import members

RECEIVER_PORTS = {
    "rx": (In, 1, "the line, asynchronous"),
    "data": (Out, 8, "a byte"),
    "valid": (Out, 1, "for one cycle"),
    "error": (Out, 1, "with valid: its stop bit is missing"),
}
TRANSMITTER_PORTS = {
    "data": (In, 8, "a byte"),
    "valid": (In, 1, "it is offered"),
    "ready": (Out, 1, "and taken"),
    "tx": (Out, 1, "the line"),
}


class Receiver(wiring.Component):
    """Bytes off a UART's line.

    Members
    -------
    As in `RECEIVER_PORTS`.
    """

    def __init__(self, board: Board):
        self.cycles = board.cycles_per_bit
        super().__init__(members(RECEIVER_PORTS))

    def elaborate(self, platform):
        m = Module()
        # Two registers against metastability; the third finds the edge.
        line = Signal(3, init=0b111)
        count = Signal(range(self.cycles))
        left = Signal(range(11))
        m.d.sync += line.eq(Cat(self.rx, line))
        m.d.comb += [
            self.valid.eq((left == 1) & (count == 0)),
            self.error.eq(~line[1]),
        ]
        with m.If(left == 0):
            m.d.sync += count.eq(self.cycles // 2 - 1)
            # An edge, not a level: after a break the line must rise first.
            with m.If(line[2] & ~line[1]):
                m.d.sync += left.eq(10)
        with m.Elif(count != 0):
            m.d.sync += count.eq(count - 1)
        with m.Else():
            m.d.sync += [count.eq(self.cycles - 1), left.eq(left - 1)]
            with m.If((left == 10) & line[1]):
                # No start bit, a spike.
                m.d.sync += left.eq(0)
            with m.If(left != 1):
                m.d.sync += self.data.eq(Cat(self.data[1:], line[1]))
        return m


class Transmitter(wiring.Component):
    """Bytes onto a UART's line.

    Members
    -------
    As in `TRANSMITTER_PORTS`.
    """

    def __init__(self, board: Board):
        self.cycles = board.cycles_per_bit
        super().__init__(members(TRANSMITTER_PORTS))

    def elaborate(self, platform):
        m = Module()
        shift = Signal(9, init=0x1FF)
        count = Signal(range(self.cycles))
        left = Signal(range(11))
        m.d.comb += [self.tx.eq(shift[0]), self.ready.eq(left == 0)]
        with m.If(self.ready):
            m.d.sync += count.eq(self.cycles - 1)
            with m.If(self.valid):
                m.d.sync += [shift.eq(Cat(C(0, 1), self.data)), left.eq(10)]
        with m.Elif(count != 0):
            m.d.sync += count.eq(count - 1)
        with m.Else():
            m.d.sync += [
                count.eq(self.cycles - 1),
                left.eq(left - 1),
                shift.eq(Cat(shift[1:], C(1, 1))),
            ]
        return m
