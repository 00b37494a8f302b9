"""The warnings of Verilator's lint that are waived for the generated Verilog, and why.

`hw.emit.write` puts the list next to each Verilog file as a configuration file of Verilator;
`tests/hw/test_lint.py` holds that nothing else is warned of, and that every entry is still needed.
"""

from __future__ import annotations

from dataclasses import dataclass

# The oldest Verilator that takes the file, Debian 12's. An unknown rule is an error to every
# Verilator, so the file names those alone that this one knows; a later one takes them as well.
OLDEST = "5.006"


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """One rule of Verilator that is switched off.

    Attributes
    ----------
    rule : str
        Name that Verilator gives the rule. Where the oldest one (`OLDEST`) knows it by another, or
        not at all, the file says that: `known_as`.
    known_as : str, optional
        Name in the file; empty where the file tells the rule by its messages alone.
    match : str
        Messages that are waived, with `*` for any text.
    why : str
        Reason, which is written beside the waiver.
    """

    rule: str
    known_as: str | None = None
    match: str = "*"
    why: str


WAIVERS = (
    Waiver(rule="DECLFILENAME", why="one file holds the top and all modules below it"),
    Waiver(
        rule="PROCASSINIT",
        known_as="",
        match="Procedural assignment to declaration with initial value*",
        why="registers start with their reset value, as FPGAs load it with the bitstream",
    ),
    Waiver(
        rule="WIDTHEXPAND",
        known_as="WIDTH",
        match="Operator * expects * bits on the ?HS, but ?HS*",
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
        match="Bits of signal are not used: 's_axis_acts_tdata'*",
        why="the stream is padded to whole bytes",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Bits of signal are not used: 'trits_?'*",
        why="positions are padded to four beats of whole bytes",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Signal is not used: 'trits_?'*",
        why="of three positions or less a beat has none",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Bits of signal are not used: 'total_q'*",
        why="of a sum the upper half of an accumulator takes the upper bits",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Signal is not used: 'bit_*'*",
        why="of a heap's sum what a psum of few input features is too narrow for",
    ),
    Waiver(
        rule="UNUSEDSIGNAL",
        match="Bits of signal are not used: 'control_*'*",
        why="the last of a line of control bits has no reader for one of them",
    ),
    Waiver(
        rule="PINMISSING",
        match="* has missing pin: 'COUT'",
        why="the end of a carry chain; connected, it would cost a cell",
    ),
    Waiver(
        rule="PINMISSING",
        match="* has missing pin: 'M'",
        why="the other input of a flip-flop, which takes DI",
    ),
    Waiver(
        rule="PINMISSING",
        match="* has missing pin: 'DO*'",
        why="of a block RAM what its word does not reach",
    ),
)


def configuration(waivers: tuple[Waiver, ...] = WAIVERS) -> str:
    """The waivers as a configuration file of Verilator, to be given in front of the Verilog."""
    lines = ["`verilator_config"]
    for waiver in waivers:
        named = waiver.rule if waiver.known_as is None else waiver.known_as
        rule = f" -rule {named}" if named else ""
        match = f' -match "{waiver.match}"' if waiver.match != "*" else ""
        lines += [f"// {waiver.why}", f'lint_off{rule} -file "*"{match}']
    return "\n".join(lines) + "\n"
