"""The core on a board: a UART, a loader with its FIFOs, and pins.

    rx --> receiver --> loader --- AXI4-Lite -----------------> core
                          |------> FIFO, bytes to beats ------> acts
                          |------> FIFO, bytes to beats ------> weights
    tx <-- transmitter <--+<------ FIFO, beats to bytes <------ psums

`arch.board` has the protocol, and where the pins are.
"""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.board import Board
from tritloom.arch.config import ArrayConfig
from tritloom.hw.core import core
from tritloom.hw.parts.ports import Modules, members, part

from . import loader, uart
from .loader import NOT_LOADED, loader_ports
from .uart import RECEIVER_PORTS, TRANSMITTER_PORTS

# Ports of the top, one pin each: name -> (direction, width, description).
PORTS = {
    "clk": (In, 1, "the board's oscillator"),
    "rx": (In, 1, "UART's line from the host"),
    "button": (In, 1, "reset while high"),
    "tx": (Out, 1, "UART's line to the host"),
    "led_busy": (Out, 1, "high while a command is under way or a FIFO holds bytes"),
    "led_irq": (Out, 1, "high while the core requests an interrupt"),
    "led_error": (Out, 1, "high once a command was refused, until the next RESET"),
    "high": (Out, 1, "constant 1, for pins that a board wants tied"),
}
RESET_CYCLES = 15


class Top(wiring.Component):
    """Everything between a board's pins.

    Its members are those of `PORTS`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str, core_name: str):
        self.config = config
        self.prefix = prefix
        self.core_name = core_name
        super().__init__(members(PORTS))

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        # The reset lasts `RESET_CYCLES` cycles from power-on, and after the button.
        pressed = Signal(2)
        wait = Signal(range(RESET_CYCLES + 1), init=RESET_CYCLES)
        reset = Signal()
        m.d.comb += [ClockSignal().eq(self.clk), reset.eq(wait != 0), self.high.eq(1)]
        m.d.sync += pressed.eq(Cat(self.button, pressed))
        with m.If(pressed[1]):
            m.d.sync += wait.eq(RESET_CYCLES)
        with m.Elif(reset):
            m.d.sync += wait.eq(wait - 1)

        receiver, transmitter, loading = (
            part(m, f"{self.prefix}_{name}", ports, reset, name=name)
            for name, ports in (
                ("receiver", RECEIVER_PORTS),
                ("transmitter", TRANSMITTER_PORTS),
                ("loader", loader_ports(self.config)),
            )
        )
        core_side = core.core_table(self.config)
        inner = part(m, self.core_name, core_side, loading["core_reset"], name="core")
        m.d.comb += [
            receiver["rx"].eq(self.rx),
            *(loading[f"rx_{name}"].eq(receiver[name]) for name in ("data", "valid", "error")),
            *(transmitter[name].eq(loading[f"tx_{name}"]) for name in ("data", "valid")),
            loading["tx_ready"].eq(transmitter["ready"]),
            self.tx.eq(transmitter["tx"]),
            self.led_busy.eq(loading["led_busy"]),
            self.led_error.eq(loading["led_error"]),
            self.led_irq.eq(inner["irq"]),
        ]
        for name, (side, *_) in core_side.items():
            if name not in NOT_LOADED:
                inside, outside = inner[name], loading[name]
                m.d.comb += inside.eq(outside) if side is In else outside.eq(inside)
        return m


def modules(config: ArrayConfig, board: Board, *, prefix: str, core_name: str) -> Modules:
    """Every module of a board's design by name; its top is `prefix` itself.

    Parameters
    ----------
    core_name : str
        Name of the core's module.
    """
    return {
        **core.modules(config, prefix=core_name),
        **uart.modules(board, prefix=prefix),
        **loader.modules(config, prefix=prefix),
        prefix: Top(config, prefix=prefix, core_name=core_name),
    }
