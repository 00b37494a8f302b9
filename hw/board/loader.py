"""The loader of a board: serves the protocol of `arch.board`, with the core behind it.

The loader does one command after the other and waits for nobody but the register bus, which
answers within cycles, and the transmitter: a stream's command finds room in its FIFO or is refused.
Bytes that come while the loader answers are lost, which the next answer tells.

The psums' beats are not stored again: the core holds a beat while its bytes leave, as AXI4-Stream
demands, through a soft reset too.
"""

from amaranth.hdl import Array, C, Cat, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.board import MARK, MAX_PAYLOAD, Opcode, Status
from tritloom.arch.config import ArrayConfig
from tritloom.arch.ports import core_ports
from tritloom.hw.parts.ports import Modules, Ports, inner_domain, members, part

from .fifo import FIFO_PORTS
from .fifo import modules as fifo_modules

# Ports of the core that the loader has no part in. Every beat of psums is the last of its packet.
NOT_LOADED = ("clk", "rst", "irq", "m_axis_psums_tlast")


def loader_ports(config: ArrayConfig) -> Ports:
    """Ports of the loader: name -> (direction, width, description)."""
    flow = {"input": Out, "output": In}
    return {
        "rx_data": (In, 8, "the byte that the UART received"),
        "rx_valid": (In, 1, "strobe, the UART received a byte"),
        "rx_error": (In, 1, "with rx_valid, high where the stop bit is missing"),
        "tx_data": (Out, 8, "the byte for the UART to send"),
        "tx_valid": (Out, 1, "high while a byte is offered to the UART"),
        "tx_ready": (In, 1, "high when the UART takes the byte this cycle"),
        "core_reset": (Out, 1, "high to reset the core"),
        "led_busy": (Out, 1, "high while a command is under way or a FIFO holds bytes"),
        "led_error": (Out, 1, "high once a command was refused, until the next RESET"),
    } | {
        port.name: (flow[port.direction], port.width, port.what)
        for port in core_ports(config)
        if port.name not in NOT_LOADED
    }


class Loader(wiring.Component):
    """The loader: commands in, answers out, the core in between.

    Its members are those of `loader_ports`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.prefix = prefix
        super().__init__(members(loader_ports(config)))

    def elaborate(self, platform):
        m = Module()
        clear = Signal()
        inner_domain(m, self.core_reset)
        m.d.comb += self.core_reset.eq(ResetSignal() | clear)
        fifos = {
            name: part(m, f"{self.prefix}_fifo", FIFO_PORTS, self.core_reset, name=name)
            for name in ("acts", "weights", "psums")
        }
        self._beats(m, fifos["acts"], "s_axis_acts")
        self._beats(m, fifos["weights"], "s_axis_weights")
        self._bytes(m, fifos["psums"])
        self._commands(m, fifos, clear)
        return m

    def _beats(self, m, fifo, name):
        """Make the beats of a stream from the bytes of its FIFO."""
        data = getattr(self, f"{name}_tdata")
        size = len(data) // 8
        have = Signal(range(size + 1), name=f"{name}_have")
        m.d.comb += [
            getattr(self, f"{name}_tvalid").eq(have == size),
            fifo["out_ready"].eq(have != size),
        ]
        with m.If(have == size):
            m.d.inner += have.eq(Mux(getattr(self, f"{name}_tready"), 0, size))
        with m.Elif(fifo["out_valid"]):
            m.d.inner += [
                data.eq(Cat(data, fifo["out_data"])[8:]),
                getattr(self, f"{name}_tlast").eq(fifo["out_last"]),
                have.eq(have + 1),
            ]

    def _bytes(self, m, fifo):
        """Send the bytes of the psums' beats into their FIFO."""
        data = self.m_axis_psums_tdata
        size = len(data) // 8
        index = Signal(range(size))
        end = Signal()
        m.d.comb += [
            end.eq(index == size - 1),
            fifo["in_data"].eq(_byte(data, index)),
            fifo["in_valid"].eq(self.m_axis_psums_tvalid & fifo["room"]),
            self.m_axis_psums_tready.eq(fifo["in_valid"] & end),
        ]
        with m.If(fifo["in_valid"]):
            m.d.inner += index.eq(Mux(end, 0, index + 1))

    def _commands(self, m, fifos, clear):
        """Take a command, do it, answer it."""
        acts, weights, psums = (fifos[name] for name in ("acts", "weights", "psums"))
        opcode = Signal(8)
        # Bytes of payload that are still to come, or to be sent.
        left = Signal(8)
        payload = Signal(40)
        allowed = Signal()
        refused = Signal()
        damaged = Signal()
        bus = Signal()
        address_sent = Signal()
        word_sent = Signal()
        flags = {
            Status.ACTS_ROOM: acts["room"],
            Status.WEIGHTS_ROOM: weights["room"],
            Status.REFUSED: refused,
            Status.LINE: damaged,
            Status.BUS: bus,
        }
        status = Cat(*(flags[flag] for flag in sorted(flags)), C(MARK >> len(flags), 3))
        # A byte of a stream, to be stored.
        byte = Signal()
        m.d.comb += [
            self.s_axil_awaddr.eq(payload[32:]),
            self.s_axil_araddr.eq(payload[32:]),
            self.s_axil_wdata.eq(payload),
            self.s_axil_wstrb.eq(0b1111),
            acts["in_valid"].eq(byte & ~opcode[1]),
            weights["in_valid"].eq(byte & opcode[1]),
        ]
        for fifo in (acts, weights):
            m.d.comb += [
                fifo["in_data"].eq(self.rx_data),
                fifo["in_last"].eq(opcode[0] & (left == 1)),
            ]
        answering = Signal()
        with m.If(self.rx_valid & (self.rx_error | answering)):
            m.d.sync += damaged.eq(1)

        with m.Switch(opcode):
            with m.Case(Opcode.RESET, Opcode.PSUMS):
                m.d.comb += allowed.eq(self.rx_data == 0)
            with m.Case(Opcode.READ):
                m.d.comb += allowed.eq(self.rx_data == 1)
            with m.Case(Opcode.WRITE):
                m.d.comb += allowed.eq(self.rx_data == 5)
            with m.Case(Opcode.ACTS, Opcode.ACTS_LAST):
                m.d.comb += allowed.eq(acts["room"] & (self.rx_data != 0))
            with m.Case(Opcode.WEIGHTS, Opcode.WEIGHTS_LAST):
                m.d.comb += allowed.eq(weights["room"] & (self.rx_data != 0))

        with m.FSM() as fsm:
            m.d.comb += self.led_busy.eq(
                ~fsm.ongoing("OPCODE")
                | Cat(fifo["out_valid"] for fifo in (acts, weights, psums)).any()
            )
            with m.State("OPCODE"):
                m.d.sync += opcode.eq(self.rx_data)
                with m.If(self.rx_valid & (self.rx_data != Opcode.NOP)):
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.sync += [left.eq(self.rx_data), refused.eq(~allowed), bus.eq(0)]
                with m.If(self.rx_valid):
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += byte.eq(self.rx_valid & opcode[3] & ~refused)
                with m.If(left == 0):
                    m.next = "EXECUTE"
                with m.Elif(self.rx_valid):
                    m.d.sync += [payload.eq(Cat(payload, self.rx_data)[8:]), left.eq(left - 1)]
            with m.State("EXECUTE"):
                m.next = "STATUS"
                with m.If(refused | damaged):
                    m.d.sync += [refused.eq(1), self.led_error.eq(1)]
                with m.Else(), m.Switch(opcode):
                    with m.Case(Opcode.RESET):
                        m.d.comb += clear.eq(1)
                        m.d.sync += self.led_error.eq(0)
                    with m.Case(Opcode.READ):
                        m.next = "READ"
                    with m.Case(Opcode.WRITE):
                        m.next = "WRITE"
                    with m.Case(Opcode.PSUMS):
                        most = psums["level"] > MAX_PAYLOAD
                        m.d.sync += left.eq(Mux(most, MAX_PAYLOAD, psums["level"]))
            with m.State("READ"):
                m.d.comb += self.s_axil_arvalid.eq(~address_sent)
                m.d.sync += [
                    address_sent.eq(address_sent | self.s_axil_arready),
                    left.eq(4),
                    bus.eq(self.s_axil_rresp != 0),
                ]
                with m.If(self.s_axil_rvalid):
                    m.d.sync += address_sent.eq(0)
                    m.next = "STATUS"
            with m.State("WRITE"):
                m.d.comb += [
                    self.s_axil_awvalid.eq(~address_sent),
                    self.s_axil_wvalid.eq(~word_sent),
                    self.s_axil_bready.eq(1),
                ]
                m.d.sync += [
                    address_sent.eq(address_sent | self.s_axil_awready),
                    word_sent.eq(word_sent | self.s_axil_wready),
                    bus.eq(self.s_axil_bresp != 0),
                ]
                with m.If(self.s_axil_bvalid):
                    m.d.sync += [address_sent.eq(0), word_sent.eq(0)]
                    m.next = "STATUS"
            with m.State("STATUS"):
                m.d.comb += [answering.eq(1), self.tx_valid.eq(1), self.tx_data.eq(status)]
                with m.If(self.tx_ready):
                    with m.If(~self.rx_valid):
                        m.d.sync += damaged.eq(0)
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.comb += [answering.eq(1), self.tx_valid.eq(1), self.tx_data.eq(left)]
                with m.If(self.tx_ready):
                    m.next = "DATA"
            with m.State("DATA"):
                reading = opcode == Opcode.READ
                # The register's word waits on the bus.
                word = _byte(self.s_axil_rdata, (-left)[:2])
                m.d.comb += [
                    answering.eq(1),
                    self.tx_valid.eq(left != 0),
                    self.tx_data.eq(Mux(reading, word, psums["out_data"])),
                    psums["out_ready"].eq(self.tx_valid & self.tx_ready & ~reading),
                ]
                with m.If(left == 0):
                    m.d.comb += self.s_axil_rready.eq(reading)
                    m.next = "OPCODE"
                with m.Elif(self.tx_ready):
                    m.d.sync += left.eq(left - 1)


def _byte(word, index):
    """A byte of a word, without the shifter of `word_select`."""
    return Array(word.word_select(i, 8) for i in range(len(word) // 8))[index]


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of the loader by name, the top (`prefix`_loader) last."""
    return {**fifo_modules(prefix=prefix), f"{prefix}_loader": Loader(config, prefix=prefix)}
