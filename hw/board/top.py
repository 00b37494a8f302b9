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

from tritloom.arch.config import ArrayConfig
from tritloom.arch.ports import Port, core_ports
from tritloom.hw.parts.ports import part

from .loader import NOT_LOADED, loader_ports
from .uart import RECEIVER_PORTS, TRANSMITTER_PORTS

# Of the top: name, direction, what.
PINS = (
    ("clk", "input", "the board's oscillator"),
    ("rx", "input", "UART, from the host"),
    ("button", "input", "reset while high"),
    ("tx", "output", "UART, to the host"),
    ("led_busy", "output", "a command is under way, or a FIFO holds bytes"),
    ("led_irq", "output", "the core's interrupt"),
    ("led_error", "output", "a command was refused since the last RESET"),
    ("high", "output", "always 1, for what a board wants tied"),
)
RESET_CYCLES = 15


def top_ports() -> tuple[Port, ...]:
    """Ports of the top, one bit each."""
    return tuple(Port(name=name, direction=flow, width=1, what=what) for name, flow, what in PINS)


class Top(wiring.Component):
    """Everything between a board's pins.

    Members
    -------
    As in `PINS`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str, core: str):
        self.config = config
        self.prefix = prefix
        self.core = core
        flow = {"input": In, "output": Out}
        super().__init__({name: flow[direction](1) for name, direction, _ in PINS})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        # From power-on, and after the button.
        pressed = Signal(2)
        wait = Signal(range(RESET_CYCLES + 1), init=RESET_CYCLES)
        reset = Signal()
        m.d.comb += [ClockSignal().eq(self.clk), reset.eq(wait != 0), self.high.eq(1)]
        m.d.sync += pressed.eq(Cat(self.button, pressed))
        with m.If(pressed[1]):
            m.d.sync += wait.eq(RESET_CYCLES)
        with m.Elif(reset):
            m.d.sync += wait.eq(wait - 1)

        receiver, transmitter, loader = (
            part(m, f"{self.prefix}_{name}", ports, reset, name=name)
            for name, ports in (
                ("receiver", RECEIVER_PORTS),
                ("transmitter", TRANSMITTER_PORTS),
                ("loader", loader_ports(self.config)),
            )
        )
        flow = {"input": In, "output": Out}
        core_side = {
            port.name: (flow[port.direction], port.width)
            for port in core_ports(self.config)
            if port.name not in ("clk", "rst")
        }
        core = part(m, self.core, core_side, loader["core_reset"], name="core")
        m.d.comb += [
            receiver["rx"].eq(self.rx),
            *(loader[f"rx_{name}"].eq(receiver[name]) for name in ("data", "valid", "error")),
            *(transmitter[name].eq(loader[f"tx_{name}"]) for name in ("data", "valid")),
            loader["tx_ready"].eq(transmitter["ready"]),
            self.tx.eq(transmitter["tx"]),
            self.led_busy.eq(loader["led_busy"]),
            self.led_error.eq(loader["led_error"]),
            self.led_irq.eq(core["irq"]),
        ]
        for name, (side, _) in core_side.items():
            if name not in NOT_LOADED:
                inside, outside = core[name], loader[name]
                m.d.comb += inside.eq(outside) if side is In else outside.eq(inside)
        return m
