"""Names of generated designs: what a configuration is called, and the command that makes it again.

A name follows from the configuration alone, whichever options led to it, so that two modules that
differ never share one. A preset has its own name. Any other configuration has its shape, and every
parameter that is not as in `REFERENCE`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex

from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow
from tritloom.arch.errors import InputError

# In front of every module's name, unless a user wants another prefix.
PREFIX = "tritloom_"
# A name says how a configuration differs from this one; its shape is always said.
REFERENCE = ArrayConfig(rows=1, cols=1, lanes=1)
# Characters of a configuration's name; a longer one ends in a hash.
LONGEST = 60
# Characters of a name or prefix that a user chooses, at most.
LONGEST_CHOSEN = 100
HASH_DIGITS = 8
# What follows a configuration's name in the top's: no module of a core ends so, so a bare array and
# the array inside a core go into one design.
SUFFIXES = {"core": "", "array": "_bare_array", "pe": "_bare_pe", "hop": "_bare_hop"}

# The preset that a command line without `--preset` starts from.
DEFAULT = "base"
# Parameters that a preset is named with.
KINDS = frozenset({"dataflow", "technology"})

# IEEE 1800-2017, which has all keywords of Verilog.
_KEYWORDS = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
checker class clocking cmos config const constraint context continue cover covergroup coverpoint
cross deassign default defparam design disable dist do edge else end endcase endchecker endclass
endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually
expect export extends extern final first_match for force foreach forever fork forkjoin function
generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies
import incdir include initial inout input inside instance int integer interconnect interface
intersect join join_any join_none large let liblist library local localparam logic longint
macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive
priority program property protected pull0 pull1 pulldown pullup pulsestyle_ondetect
pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg reject_on
release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually
s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled signed small
soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran
tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until
until_with untyped use uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while
wildcard wire with within wor xnor xor
"""
KEYWORDS = frozenset(_KEYWORDS.split())


def require_identifier(what: str, text: str) -> str:
    """Return `text` if it is an identifier of Verilog without a `$`, else raise `InputError`."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise InputError(
            f"{what} must be letters, digits and _, the first of them no digit, not {text!r}"
        )
    if len(text) > LONGEST_CHOSEN:
        raise InputError(f"{what} must have at most {LONGEST_CHOSEN} characters, not {len(text)}")
    if text in KEYWORDS:
        raise InputError(f"{what} must be no keyword of SystemVerilog, as {text!r} is")
    return text


def of_rtl(config: ArrayConfig) -> ArrayConfig:
    """The configuration without what has no meaning in it: an output-stationary array's buffer."""
    if config.dataflow == Dataflow.OUTPUT_STATIONARY:
        return config.replace(buffer_tokens=REFERENCE.buffer_tokens)
    return config


def configuration_name(config: ArrayConfig) -> str:
    """Name of a configuration: its preset's, or its shape and what is not as in `REFERENCE`.

    A preset of another dataflow or technology is named after both. Where the name is longer than
    `LONGEST`, parameters are a hash.
    """
    config = of_rtl(config)
    preset = _preset(config)
    if preset:
        return "_".join([preset, *_kinds(config, PRESETS[preset])])
    changed = differences(config, REFERENCE) - {"rows", "cols", "lanes", *KINDS}
    told = [_token(field, getattr(config, field)) for field in _ordered(changed)]
    ends = _kinds(config, REFERENCE)
    whole = "_".join([config.shape, *told, *ends])
    if len(whole) <= LONGEST:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:HASH_DIGITS]
    return "_".join([config.shape, *ends, digest])


def _preset(config: ArrayConfig) -> str | None:
    """The preset that the configuration is, but for its dataflow and technology."""
    return next(
        (name for name, base in PRESETS.items() if differences(config, base) <= KINDS), None
    )


def differences(config: ArrayConfig, base: ArrayConfig) -> set[str]:
    """Parameters that differ."""
    return {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(base, field.name)
    }


def _ordered(parameters: set[str]) -> list[str]:
    return [field.name for field in dataclasses.fields(ArrayConfig) if field.name in parameters]


def _kinds(config: ArrayConfig, base: ArrayConfig) -> list[str]:
    pairs = ((config.dataflow, base.dataflow), (config.technology, base.technology))
    return [value.replace("-", "_") for value, reference in pairs if value != reference]


def _token(parameter: str, value: float) -> str:
    if parameter == "diagnostics":
        return "no_diagnostics"
    if parameter == "clock_hz":
        return re.sub(r"\W", "p", f"{value / 1e6:.12g}mhz")
    return f"{parameter}{value}"


def command(config: ArrayConfig, *, top: str, name: str | None, prefix: str) -> str:
    """The command line that generates a configuration, from its preset or from its shape.

    Parameters
    ----------
    top : str
        "core" or "array".
    name, prefix : str
        As for `hw.verilog.generate`.
    """
    config = of_rtl(config)
    preset = _preset(config)
    changed = differences(config, PRESETS[preset or DEFAULT])
    words = ["tritloom", "verilog", *(["--preset", preset] if preset else [])]
    for parameter in _ordered(changed if preset else changed | {"rows", "cols", "lanes"}):
        option, value = parameter.replace("_", "-"), getattr(config, parameter)
        words += ["--no-diagnostics"] if parameter == "diagnostics" else [f"--{option}", f"{value}"]
    if top != "core":
        words += ["--top", top]
    if name is not None:
        words += ["--name", name]
        # The command line drops the prefix where there is a name.
        words += ["--prefix", prefix] if prefix else []
    elif prefix != PREFIX:
        words += ["--prefix", prefix]
    return shlex.join(words)
