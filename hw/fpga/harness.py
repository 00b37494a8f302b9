"""A harness for place and route: registers around a module, and three pins."""

from __future__ import annotations

from tritloom.hw.emit import Rtl


def harness(rtl: Rtl) -> str:
    """Verilog of `harness`, with the module in it as `dut`, and of the module's empty shell.

    One pin fills a shift register with a flip-flop for each input bit. Each output bit goes into a
    flip-flop, and those through a tree of four-input XORs, with registers at each level, to a pin.
    """
    ports = [port for port in rtl.ports if port.name != "clk"]
    width = {"input": 0, "output": 0}
    connections = []
    for port in ports:
        start = width[port.direction]
        connections.append(f".{port.name}({port.direction}s[{start} +: {port.width}])")
        width[port.direction] += port.width
    shell = [f"{port.direction} [{port.width - 1}:0] {port.name}" for port in ports]
    registers = [f"reg [{width['output'] - 1}:0] level_0;"]
    clocked = ["inputs <= {inputs, serial};", "level_0 <= outputs;"]
    size, level = width["output"], 0
    while size > 1:
        groups = [
            f"^level_{level}[{min(start + 4, size) - 1}:{start}]" for start in range(0, size, 4)
        ]
        size, level = len(groups), level + 1
        registers.append(f"reg [{size - 1}:0] level_{level};")
        clocked.append(f"level_{level} <= {{{', '.join(groups)}}};")
    lines = [
        "(* blackbox *)",
        f"module {rtl.top}(input clk, {', '.join(shell)});",
        "endmodule",
        "module harness(input clk, input serial, output parity);",
        f"reg [{width['input'] - 1}:0] inputs;",
        f"wire [{width['output'] - 1}:0] outputs;",
        *registers,
        "always @(posedge clk) begin",
        *clocked,
        "end",
        f"assign parity = level_{level};",
        f"{rtl.top} dut(.clk(clk), {', '.join(connections)});",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def harness_luts(rtl: Rtl) -> int:
    """LUTs of the harness: those of its XORs, and one for a constant that nextpnr places."""
    size, luts = sum(port.width for port in rtl.ports if port.direction == "output"), 1
    while size > 1:
        # A single bit left over at a level takes a register and no LUT.
        luts += size // 4 + (size % 4 > 1)
        size = -(-size // 4)
    return luts
