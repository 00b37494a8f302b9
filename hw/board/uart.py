"""A UART of 8 bits, no parity, one stop bit: a receiver and a transmitter."""

from amaranth.hdl import C, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.board import Board
from tritloom.hw.parts.ports import Modules, members

# Ports of receiver and transmitter: name -> (direction, width, description).
RECEIVER_PORTS = {
    "rx": (In, 1, "the line from the host, asynchronous"),
    "data": (Out, 8, "the byte received"),
    "valid": (Out, 1, "strobe, a byte was received"),
    "error": (Out, 1, "with valid, high where the stop bit is missing"),
}
TRANSMITTER_PORTS = {
    "data": (In, 8, "the byte to send"),
    "valid": (In, 1, "high while a byte is offered"),
    "ready": (Out, 1, "high when the transmitter takes the byte this cycle"),
    "tx": (Out, 1, "the line to the host"),
}


class Receiver(wiring.Component):
    """The receiver: bytes off a UART's line.

    Its members are those of `RECEIVER_PORTS`.
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
                # The edge was a spike, no start bit.
                m.d.sync += left.eq(0)
            with m.If(left != 1):
                m.d.sync += self.data.eq(Cat(self.data[1:], line[1]))
        return m


class Transmitter(wiring.Component):
    """The transmitter: bytes onto a UART's line.

    Its members are those of `TRANSMITTER_PORTS`.
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


def modules(board: Board, *, prefix: str) -> Modules:
    """Receiver and transmitter by name."""
    return {f"{prefix}_receiver": Receiver(board), f"{prefix}_transmitter": Transmitter(board)}
