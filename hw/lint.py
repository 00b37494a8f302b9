"""The warnings of Verilator's lint that are waived for the generated Verilog, and why.

`hw.emit.write` puts the list next to each Verilog file as a configuration file of Verilator;
`tests/hw/test_lint.py` holds that nothing else is warned of, and that every entry is still needed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """One rule of Verilator that is switched off.

    Attributes
    ----------
    rule : str
        Name that Verilator gives the rule.
    match : str
        Messages that are waived, with `*` for any text.
    why : str
        Reason, which is written beside the waiver.
    """

    rule: str
    match: str = "*"
    why: str


WAIVERS = (
    Waiver(rule="DECLFILENAME", why="one file holds the top and all modules below it"),
    Waiver(
        rule="PROCASSINIT",
        why="registers start with their reset value, as FPGAs load it with the bitstream",
    ),
    Waiver(
        rule="WIDTHEXPAND",
        match="Operator * expects * bits on the *",
        why="a shorter operand is extended to the operator's width, as IEEE 1364 says",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Bits of signal are not used: '_*_'*",
        why="a sum has a carry more than its target; synthesis drops it",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Bits of signal are not used: 'pairs'*",
        why="of every trit code one bit is counted (hw/parts/popcount.py)",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Signal is not used: '_*_'*",
        why="outputs that leave the array's edge, and others that nothing reads",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Signal is not used: 's_axil_a?prot'*",
        why="AXI4-Lite demands the port; the core serves every protection type",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Bits of signal are not used: 'total_q'*",
        why="of a sum the upper half of an accumulator takes the upper bits",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Bits of signal are not used: 'control_*'*",
        why="the last of a line of control bits has no reader for one of them",
    ),
    Waiver(
        rule="PINMISSING",
        match="Instance has missing pin: 'COUT'",
        why="the end of a carry chain; connected, it would cost a cell",
    ),
    Waiver(
        rule="PINMISSING",
        match="Instance has missing pin: 'M'",
        why="the other input of a flip-flop, which takes DI",
    ),
    Waiver(
        rule="PINMISSING",
        match="Instance has missing pin: 'DO*'",
        why="of a block RAM what its word does not reach",
    ),
)


def configuration(waivers: tuple[Waiver, ...] = WAIVERS) -> str:
    """The waivers as a configuration file of Verilator, to be given in front of the Verilog."""
    lines = ["`verilator_config"]
    for waiver in waivers:
        match = f' -match "{waiver.match}"' if waiver.match != "*" else ""
        lines += [f"// {waiver.why}", f'lint_off -rule {waiver.rule} -file "*"{match}']
    return "\n".join(lines) + "\n"
