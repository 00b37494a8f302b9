"""Boards, and the protocol in which a host drives the core on one of them over a UART.

The host sends a command, the board answers, and only then does the host send the next one.

    command   opcode, length, that many bytes of payload
    answer    status, length, that many bytes of payload

Opcode, status and length are a byte each; words are little-endian.

| command | payload | answer's payload |
|---|---|---|
| NOP | none, nor a length | no answer at all |
| RESET | | |
| READ | offset of a register | its word, 4 bytes |
| WRITE | word, 4 bytes; then the register's offset | |
| PSUMS | | what the psum stream has delivered, up to 255 bytes |
| ACTS, WEIGHTS | 1 to 255 bytes of the stream | |
| ACTS_LAST, WEIGHTS_LAST | the same; the last byte ends a packet | |

Streams are cut into commands anywhere: the board makes beats of them, first byte in the low bits,
and bytes of the psums' beats. Between a stream and the core are `FIFO_BYTES` bytes. The board takes
a stream's command as a whole or refuses it, for want of room; `ACTS_ROOM` and `WEIGHTS_ROOM` of the
last answer tell beforehand. So every command is answered at once, whatever the core waits for, and
nothing locks up: the core waits for the operand that is missing and for psums to be taken, the host
for neither. Its one duty is to offer each stream as long as there is room, and to take psums.

A refused command has done nothing, but for those bytes of a stream that came before one that the
line damaged (`LINE`). RESET is as good as power-on, for core, FIFOs and half-made beats alike.

Where an answer stays out, a byte was lost and the board waits for the rest of a command. The host
then sends `RESYNC` zeros, which end any command and are NOPs after that; waits until the line is
quiet; drops what came; and sends RESET, once more where that is refused for what is behind it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .errors import InputError, require_int


class Opcode(enum.IntEnum):
    """What a command asks for."""

    NOP = 0x00
    RESET = 0x01
    READ = 0x02
    WRITE = 0x03
    PSUMS = 0x04
    ACTS = 0x08
    ACTS_LAST = 0x09
    WEIGHTS = 0x0A
    WEIGHTS_LAST = 0x0B


class Status(enum.IntFlag):
    """What an answer begins with."""

    # Room for a command of either stream, of any length.
    ACTS_ROOM = 0x01
    WEIGHTS_ROOM = 0x02
    # Unknown opcode, wrong length, no room, or LINE.
    REFUSED = 0x04
    # Since the last answer a stop bit was missing, or a byte came while the board was answering.
    LINE = 0x08
    # The register bus answered SLVERR: there is no such register.
    BUS = 0x10


# The three upper bits of every status: a host that has lost its place sees other ones.
MARK = 0xA0
FIELD_BITS = 0xE0

MAX_PAYLOAD = 255
# A length and a payload that are missing, and one more.
RESYNC = MAX_PAYLOAD + 2
# One block RAM of an ECP5, 9 bits wide.
FIFO_BYTES = 2048


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One pin of a package.

    Attributes
    ----------
    site : str
        The package's ball.
    net : str
        What the board's own files call it.
    options : str
        Settings of the IO buffer, as in a constraints file for ECP5.
    """

    site: str
    net: str
    options: str


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board with an ECP5.

    Attributes
    ----------
    name : str
    clock_hz : int
        Frequency of the oscillator, which clocks everything.
    baud : int
        Rate of the UART: 8 bits, no parity, 1 stop bit.
    pins : dict of str to Pin
        Pins by port of the top (`hw.board.top.Top`).
    system : str
        How the device is configured, as in a constraints file.
    source : str
        Where the pins are from.
    """

    name: str
    clock_hz: int
    baud: int
    pins: dict[str, Pin]
    system: str
    source: str

    def __post_init__(self):
        require_int("baud", self.baud)
        require_int(f"clock cycles per bit at {self.baud} baud", self.cycles_per_bit, low=4)

    @property
    def cycles_per_bit(self) -> int:
        """Clock cycles that a bit lasts."""
        return round(self.clock_hz / self.baud)


def _led(site: str, net: str) -> Pin:
    return Pin(site=site, net=net, options="PULLMODE=NONE IO_TYPE=LVCMOS33 DRIVE=4")


BOARDS = {
    # 25 cycles a bit, on the spot: the FT231X divides 3 MHz.
    "ulx3s": Board(
        name="ulx3s",
        clock_hz=25_000_000,
        baud=1_000_000,
        pins={
            "clk": Pin(site="G2", net="clk_25mhz", options="PULLMODE=NONE IO_TYPE=LVCMOS33"),
            "rx": Pin(site="M1", net="ftdi_txd", options="PULLMODE=UP IO_TYPE=LVCMOS33"),
            "tx": Pin(site="L4", net="ftdi_rxd", options="PULLMODE=UP IO_TYPE=LVCMOS33 DRIVE=4"),
            "button": Pin(site="R1", net="btn[1]", options="PULLMODE=DOWN IO_TYPE=LVCMOS33"),
            "led_busy": _led("B2", "led[0]"),
            "led_irq": _led("C2", "led[1]"),
            "led_error": _led("C1", "led[2]"),
            "high": _led("L2", "wifi_gpio0"),
        },
        system="CONFIG_IOVOLTAGE=3.3 COMPRESS_CONFIG=ON MCCLK_FREQ=62 SLAVE_SPI_PORT=DISABLE "
        "MASTER_SPI_PORT=ENABLE SLAVE_PARALLEL_PORT=DISABLE",
        source="github.com/emard/ulx3s, doc/constraints/ulx3s_v20.lpf (boards v2.x.x and v3.0.x)",
    ),
}


def find_board(name: str) -> Board:
    """The named board; an unknown name raises `InputError` that lists the known ones."""
    if name not in BOARDS:
        raise InputError(f"unknown board {name!r}; known: {', '.join(BOARDS)}")
    return BOARDS[name]
