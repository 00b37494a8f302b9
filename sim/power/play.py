"""Plays words into the ports of any one-clock Verilog and records its outputs and nets.

The top goes into a module of three wide ports, so that one piece of C++ serves every design. Inputs
change right after the rising edge, as if registers were in front of them. Nets are sampled settled,
in each half of the cycle: what they do in between, glitches, is not seen.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from tritloom.arch.errors import InputError
from tritloom.hw.cells.liberty import Library, verilog_models
from tritloom.hw.cells.netlist import Netlist
from tritloom.hw.emit import Rtl
from tritloom.sim import verilator

# Cycles with `rst` high before the first word, where there is a reset.
RESET_CYCLES = 2


@dataclass(frozen=True, kw_only=True)
class Playable:
    """Verilog to play into.

    Attributes
    ----------
    inputs, outputs : dict of str to int
        Widths of ports, without `clk`.
    clocked : bool
        It has a port `clk`.
    nets : tuple of str
        Wires of the top to be recorded.
    """

    top: str
    verilog: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    clocked: bool = True
    nets: tuple[str, ...] = ()


def of_rtl(rtl: Rtl) -> Playable:
    """Generated RTL as a design of which no net is recorded."""
    widths = {"input": {}, "output": {}}
    for port in rtl.ports:
        widths[port.direction][port.name] = port.width
    clocked = widths["input"].pop("clk", None) is not None
    return Playable(
        top=rtl.top,
        verilog=rtl.verilog,
        inputs=widths["input"],
        outputs=widths["output"],
        clocked=clocked,
    )


def net_numbers(netlist: Netlist) -> list[int]:
    """Nets of a netlist without the constants, in the order in which they are recorded."""
    ports = [*netlist.inputs.values(), *netlist.outputs.values()]
    numbers = {net for bits in ports for net in bits}
    numbers |= {net for instance in netlist.instances for net in instance.nets.values()}
    return sorted(net for net in numbers if net >= 0)


def of_netlist(netlist: Netlist) -> Playable:
    """A mapped netlist, whose nets are all recorded in the order of `net_numbers`."""
    return Playable(
        top=netlist.top,
        verilog=netlist.verilog + "".join(_model(netlist.library, name) for name in netlist.cells),
        inputs={name: len(bits) for name, bits in netlist.inputs.items() if name != "clk"},
        outputs={name: len(bits) for name, bits in netlist.outputs.items()},
        clocked="clk" in netlist.inputs,
        nets=tuple(f"n{number}" for number in net_numbers(netlist)),
    )


def _model(library: Library, name: str) -> str:
    """Verilog of a cell; a parity is written as one, of which a simulator makes far less code."""
    cell, text = library.cells[name], verilog_models(library, [name])
    for pin in cell.outputs if cell.kind == "logic" else ():
        function = cell.pins[pin].function
        found = set()
        for bits in product((0, 1), repeat=len(cell.inputs)):
            value = eval(function, {}, dict(zip(cell.inputs, bits, strict=True))) & 1
            found.add(value ^ sum(bits) & 1)
        if len(found) == 1 and len(cell.inputs) > 1:
            sign = "~" if found == {1} else ""
            parity = f"{sign}({' ^ '.join(cell.inputs)})"
            text = text.replace(f"assign {pin} = {function};", f"assign {pin} = {parity};")
    return text


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """What a design did while words were played.

    Attributes
    ----------
    outputs : dict of str to array of uint8, shape (cycles, bytes)
        Little-endian, at the end of each cycle.
    nets : array of uint8, shape (1 + 2 * cycles, bytes)
        Bits in the order of `Playable.nets`, low bits first: before the first cycle, then after
        each rising and each falling edge.
    """

    cycles: int
    outputs: dict[str, np.ndarray]
    nets: np.ndarray

    def part(self, start: int, stop: int | None = None) -> Recording:
        """Recording of some of the cycles."""
        stop = self.cycles if stop is None else min(stop, self.cycles)
        return Recording(
            cycles=stop - start,
            outputs={port: words[start:stop] for port, words in self.outputs.items()},
            nets=self.nets[2 * start : 2 * stop + 1],
        )


def _bytes(width: int) -> int:
    return -(-width // 8)


def _words(count: int) -> int:
    """Bytes in which Verilator keeps so many bits, at least; a multiple of 4."""
    return max(4, -(-count // 32) * 4)


def _wrapper(design: Playable) -> str:
    """Verilog of the module `player`, whose ports lie side by side, each from a whole byte on."""
    pins, at = [".clk(clk)"] if design.clocked else [], 0
    for name, width in design.inputs.items():
        pins.append(f".{name}(held[{8 * at} +: {width}])")
        at += _bytes(width)
    inputs, at, text = at, 0, []
    for name, width in design.outputs.items():
        text.append(f"  wire [{width - 1}:0] out_{name};")
        text.append(f"  assign outputs[{8 * at} +: {8 * _bytes(width)}] = out_{name};")
        pins.append(f".{name}(out_{name})")
        at += _bytes(width)
    for start in range(0, len(design.nets), 32):
        part = design.nets[start : start + 32]
        joined = ", ".join(f"dut.{net}" for net in reversed(part))
        text.append(f"  always @(posedge sample) kept[{start} +: {len(part)}] <= {{{joined}}};")
    # More than 64 bits, so that each is an array of words, whatever its width.
    widths = [max(96, 8 * inputs), max(96, 8 * at), max(96, len(design.nets))]
    return "\n".join(
        [
            f"module player(input clk, input sample, input [{widths[0] - 1}:0] inputs,",
            f"  output [{widths[1] - 1}:0] outputs, output [{widths[2] - 1}:0] nets);",
            # Verilator then finds no logic that follows an input within a step.
            f"  reg [{widths[0] - 1}:0] held = 0;",
            "  always @(posedge clk) held <= inputs;",
            # Nets are gathered by one piece of code, not by one for each cause of a change.
            f"  reg [{widths[2] - 1}:0] kept = 0;",
            "  assign nets = kept;",
            *text,
            f"  {design.top} dut({', '.join(pins)});",
            "endmodule\n",
        ]
    )


def compile_player(design: Playable, folder: Path | None = None) -> ctypes.CDLL:
    """A loaded shared library that plays into the design, built once."""
    return verilator.library(
        design.verilog + _wrapper(design),
        Path(__file__).with_suffix(".cpp"),
        top="player",
        label=f"player/{design.top}",
        folder=folder,
        # Compiling takes longer than running; cells are inlined.
        options=["-CFLAGS", "-O0", *(("--inline-mult", "0") if design.nets else ())],
    )


def play(
    design: Playable, words: Mapping[str, np.ndarray], *, folder: Path | None = None
) -> Recording:
    """Play a word a cycle into each port; ports without words stay 0.

    Parameters
    ----------
    words : mapping of str to array of uint8, shape (cycles, bytes)
        Little-endian; bits beyond a port's width are 0. Ports that the design lacks are ignored.

    Raises
    ------
    InputError
        Words differ in number, or a word is too wide.
    """
    lengths = {len(each) for each in words.values()}
    if len(lengths) != 1:
        raise InputError(f"words must be as many for each port, not {sorted(lengths)}")
    (cycles,) = lengths
    played = np.zeros((RESET_CYCLES + cycles, _words(8 * sum(map(_bytes, design.inputs.values())))))
    played, at = played.astype(np.uint8), 0
    for name, width in design.inputs.items():
        size = _bytes(width)
        if name in words:
            word = words[name]
            beyond = word[:, size:].any() or (width % 8 and (word[:, size - 1] >> width % 8).any())
            if beyond:
                raise InputError(f"words of {name} must fit its {width} bits")
            played[RESET_CYCLES:, at : at + size] = word[:, :size]
        elif name == "rst":
            played[:RESET_CYCLES, at] = 1
        at += size
    total = len(played)
    outputs = np.zeros((total, _words(8 * sum(map(_bytes, design.outputs.values())))), np.uint8)
    nets = np.zeros((1 + 2 * total, _words(len(design.nets)) if design.nets else 0), np.uint8)
    library = compile_player(design, folder)
    library.player_run(
        *(played.ctypes, ctypes.c_int64(played.shape[1]), ctypes.c_int64(total)),
        *(outputs.ctypes, ctypes.c_int64(outputs.shape[1])),
        *(nets.ctypes, ctypes.c_int64(nets.shape[1])),
    )
    split, at = {}, 0
    for name, width in design.outputs.items():
        split[name] = outputs[RESET_CYCLES:, at : at + _bytes(width)]
        at += _bytes(width)
    return Recording(cycles=cycles, outputs=split, nets=nets[2 * RESET_CYCLES :])
