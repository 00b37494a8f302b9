"""The core's ports, named as AMBA names them: the source of truth.

The gateware declares its ports from here; the wrappers under `examples/` are tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import ArrayConfig, Dataflow
from .errors import InputError
from .layout import beat_bytes
from .regmap import ADDRESS_BITS, WORD_BITS

# A psum on the stream, sign extended.
PSUM_STREAM_BITS = 32


@dataclass(frozen=True, kw_only=True)
class Port:
    """One port of a Verilog module.

    Attributes
    ----------
    name : str
    direction : str
        "input" or "output".
    width : int
        Bits.
    what : str
        What the port carries or says; the JSON file beside the Verilog shows it to users.
    """

    name: str
    direction: str
    width: int
    what: str


def acts_stream_bits(config: ArrayConfig) -> int:
    """Width of `s_axis_acts_tdata`: one beat of acts, padded to bytes."""
    return 8 * -(-config.acts_bits // 8)


def weights_stream_bits(config: ArrayConfig) -> int:
    """Width of `s_axis_weights_tdata`: a quarter of a group of one byte a position."""
    return 8 * beat_bytes(config.cols * config.lanes)


def psums_stream_bits(config: ArrayConfig) -> int:
    """Width of `m_axis_psums_tdata`: one psum a column.

    A psum that could be wider than its place on the stream raises `InputError`.
    """
    if config.psum_bits > PSUM_STREAM_BITS:
        raise InputError(
            f"psums of max_k = {config.max_k} and act_bits = {config.act_bits} are "
            f"{config.psum_bits} bits wide, and the stream carries {PSUM_STREAM_BITS}"
        )
    return PSUM_STREAM_BITS * config.cols


def _ports(*rows) -> tuple[Port, ...]:
    return tuple(
        Port(name=name, direction=direction, width=width, what=what)
        for name, direction, width, what in rows
    )


def stream_ports(name: str, width: int, what: str) -> tuple[Port, ...]:
    """Ports of an AXI4-Stream; `s_` at the start of the name makes the core its receiver."""
    sent, taken = ("input", "output") if name.startswith("s_") else ("output", "input")
    kind = name.rpartition("_")[2]
    return _ports(
        (f"{name}_tdata", sent, width, what),
        (f"{name}_tlast", sent, 1, f"high with the last beat of a packet of {kind}"),
        (f"{name}_tvalid", sent, 1, f"high while the sender offers a beat of {kind}"),
        (
            f"{name}_tready",
            taken,
            1,
            f"high when the receiver takes the beat of {kind} this cycle",
        ),
    )


def axil_ports(name: str = "s_axil") -> tuple[Port, ...]:
    """Ports of the AXI4-Lite subordinate that reaches the registers of `arch.regmap`."""
    strobes = WORD_BITS // 8
    return _ports(
        (f"{name}_awaddr", "input", ADDRESS_BITS, "write address, in bytes"),
        (f"{name}_awprot", "input", 3, "protection type of a write, ignored"),
        (f"{name}_awvalid", "input", 1, "high while the manager offers a write address"),
        (f"{name}_awready", "output", 1, "high when the core takes the write address this cycle"),
        (f"{name}_wdata", "input", WORD_BITS, "word to write to a register"),
        (f"{name}_wstrb", "input", strobes, "bytes of the word that are written"),
        (f"{name}_wvalid", "input", 1, "high while the manager offers write data"),
        (f"{name}_wready", "output", 1, "high when the core takes the write data this cycle"),
        (f"{name}_bresp", "output", 2, "answer to a write, 00 okay, 10 no such register"),
        (f"{name}_bvalid", "output", 1, "high while the core offers the answer to a write"),
        (f"{name}_bready", "input", 1, "high when the manager takes the answer this cycle"),
        (f"{name}_araddr", "input", ADDRESS_BITS, "read address, in bytes"),
        (f"{name}_arprot", "input", 3, "protection type of a read, ignored"),
        (f"{name}_arvalid", "input", 1, "high while the manager offers a read address"),
        (f"{name}_arready", "output", 1, "high when the core takes the read address this cycle"),
        (f"{name}_rdata", "output", WORD_BITS, "word read, 0 where there is no register"),
        (f"{name}_rresp", "output", 2, "answer to a read, 00 okay, 10 no such register"),
        (f"{name}_rvalid", "output", 1, "high while the core offers the word read"),
        (f"{name}_rready", "input", 1, "high when the manager takes the word read this cycle"),
    )


def clock_ports() -> tuple[Port, ...]:
    """Ports of the clock and the reset."""
    return _ports(
        ("clk", "input", 1, "clock, rising edge"),
        ("rst", "input", 1, "reset, synchronous, active high"),
    )


def core_ports(config: ArrayConfig) -> tuple[Port, ...]:
    """Every port of the core's Verilog module, in its order."""
    # What the rows of the array are.
    row = "token" if config.dataflow == Dataflow.OUTPUT_STATIONARY else "slice"
    return (
        *clock_ports(),
        *stream_ports(
            "s_axis_acts",
            acts_stream_bits(config),
            f"a beat of acts: act [{row}][lane], {row} 0 lane 0 in the low bits",
        ),
        *stream_ports(
            "s_axis_weights",
            weights_stream_bits(config),
            "a beat of packed trits: one byte a position, for a quarter of the positions",
        ),
        *stream_ports(
            "m_axis_psums",
            psums_stream_bits(config),
            "a beat of psums: psum [feature] of one token, sign extended",
        ),
        *axil_ports(),
        *_ports(
            (
                "irq",
                "output",
                1,
                "interrupt, high while a cause that IRQ_ENABLE lets through is set",
            )
        ),
    )
