"""A FIFO of bytes in block RAM."""

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.board import FIFO_BYTES, MAX_PAYLOAD
from tritloom.hw.parts.ports import Modules, members
from tritloom.hw.parts.ram import Ram

# The memory of a FIFO: bytes, each with its end-of-packet bit.
fifo_ram = Ram(width=9, depth=FIFO_BYTES)

# Ports of the FIFO: name -> (direction, width, description).
FIFO_PORTS = {
    "in_data": (In, 8, "the byte to store"),
    "in_last": (In, 1, "high where the byte to store ends a packet"),
    "in_valid": (In, 1, "high to store the byte; only where there is room"),
    "room": (Out, 1, "high while a command of any length finds room"),
    "out_data": (Out, 8, "the oldest byte stored"),
    "out_last": (Out, 1, "high where the oldest byte ends a packet"),
    "out_valid": (Out, 1, "high while the oldest byte is offered"),
    "out_ready": (In, 1, "high when the receiver takes the byte this cycle"),
    "level": (Out, FIFO_BYTES.bit_length(), "number of bytes stored"),
}


class Fifo(wiring.Component):
    """A FIFO of bytes, each with a bit that marks the last of a packet.

    Its members are those of `FIFO_PORTS`.
    """

    def __init__(self, *, prefix: str):
        self.prefix = prefix
        super().__init__(members(FIFO_PORTS))

    def elaborate(self, platform):
        m = Module()
        write = Signal(range(FIFO_BYTES))
        read = Signal(range(FIFO_BYTES))
        words = Signal(range(FIFO_BYTES))
        fetch = Signal()
        m.submodules.ram = Instance(
            f"{self.prefix}_fifo_ram",
            i_clk=ClockSignal(),
            i_write_enable=self.in_valid,
            i_write_address=write,
            i_write_data=Cat(self.in_data, self.in_last),
            i_read_enable=fetch,
            i_read_address=read,
            o_read_data=Cat(self.out_data, self.out_last),
        )
        m.d.comb += [
            words.eq(write - read),
            fetch.eq((words != 0) & (~self.out_valid | self.out_ready)),
            self.level.eq(words + self.out_valid),
            self.room.eq(words < FIFO_BYTES - MAX_PAYLOAD - 1),
        ]
        m.d.sync += [
            write.eq(write + self.in_valid),
            read.eq(read + fetch),
            self.out_valid.eq(fetch | (self.out_valid & ~self.out_ready)),
        ]
        return m


def modules(*, prefix: str) -> Modules:
    """Every module of a FIFO by name, the top (`prefix`_fifo) last."""
    return {f"{prefix}_fifo_ram": fifo_ram, f"{prefix}_fifo": Fifo(prefix=prefix)}
