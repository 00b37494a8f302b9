"""The core's registers: names, offsets and fields.

This file is the one source of truth for them. The gateware (`hw/core/registers.py`), the C header
and the page for driver writers are made from this table; `python -m hw regmap` writes the latter
two. Standard library only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .config import ArrayConfig, Dataflow
from .errors import InputError, require_int

WORD_BITS = 32
WORD_BYTES = 4
# Descriptors that may wait while a run is under way.
QUEUE_DEPTH = 4


class Access(enum.StrEnum):
    """What software may do with a field."""

    RO = "RO"  # read; writes are ignored
    RW = "RW"
    W1C = "W1C"  # set by the core, cleared by writing 1
    WO = "WO"  # writing 1 acts at once; reads as 0


MEANING = {
    Access.RO: "read; writes are ignored",
    Access.RW: "read and write",
    Access.W1C: "set by the core and kept; writing 1 clears it, unless it is set at that moment",
    Access.WO: "writing 1 acts at once; reads as 0",
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """Some neighbouring bits of a register.

    Attributes
    ----------
    name : str
    low, width : int
        Lowest bit, and number of bits.
    access : Access
    reset : int or None
        Value after reset; None where the configuration decides (see `constants`).
    what : str
    values : tuple of (str, int)
        Names of values, where the field is a choice; `hw.svd` shows them.

    Raises
    ------
    InputError
        The field does not fit a word, or its reset value or a named value does not fit the field.
    """

    name: str
    low: int = 0
    width: int = 1
    access: Access
    reset: int | None = 0
    what: str
    values: tuple[tuple[str, int], ...] = ()

    def __post_init__(self):
        _require_name("field", self.name)
        require_int(f"low bit of field {self.name}", self.low, low=0, high=WORD_BITS - 1)
        require_int(f"width of field {self.name}", self.width, high=WORD_BITS - self.low)
        if self.reset is not None:
            self.require_fits(self.reset)
        _require_distinct(f"value name of {self.name}", [name for name, _ in self.values])
        _require_distinct(f"value of {self.name}", [f"{value}" for _, value in self.values])
        for name, value in self.values:
            _require_name("value", name)
            self.require_fits(value)

    @property
    def mask(self) -> int:
        """The field's bits in the word."""
        return ((1 << self.width) - 1) << self.low

    @property
    def bits(self) -> str:
        """The bit range as a data sheet writes it."""
        return f"{self.low + self.width - 1}:{self.low}" if self.width > 1 else f"{self.low}"

    def require_fits(self, value: int) -> int:
        """Return `value` if it fits the field, else raise `InputError` naming it."""
        return require_int(f"field {self.name}", value, low=0, high=(1 << self.width) - 1)


@dataclass(frozen=True, kw_only=True)
class Register:
    """One word that software reads or writes.

    Attributes
    ----------
    name : str
    offset : int
        Bytes from the start of the core's registers.
    fields : tuple of Field
        Bits in no field read as zero and ignore writes.
    what : str

    Raises
    ------
    InputError
        The offset is misaligned, or fields overlap or share a name.
    """

    name: str
    offset: int
    fields: tuple[Field, ...]
    what: str

    def __post_init__(self):
        _require_name("register", self.name)
        require_int(f"offset of {self.name}", self.offset, low=0)
        if self.offset % WORD_BYTES:
            raise InputError(
                f"offset of {self.name} must be a multiple of {WORD_BYTES}, not {self.offset:#x}"
            )
        if not self.fields:
            raise InputError(f"register {self.name} must have at least one field")
        _require_distinct(f"field of {self.name}", [field.name for field in self.fields])
        used = 0
        for field in self.fields:
            if used & field.mask:
                raise InputError(f"field {field.name} of {self.name} overlaps another field")
            used |= field.mask

    def field(self, name: str) -> Field:
        """The named field; an unknown name raises `InputError`."""
        for field in self.fields:
            if field.name == name:
                return field
        raise InputError(f"register {self.name} has no field {name!r}")


def _require_name(kind, name):
    if not (name.isascii() and name.isidentifier() and name.isupper()):
        raise InputError(f"{kind} name must be a C identifier in capitals, not {name!r}")


def _require_distinct(kind, values):
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"two registers or fields share one {kind}: {value}")


def validate(registers: tuple[Register, ...]) -> tuple[Register, ...]:
    """Return `registers` if names and offsets are unique, else raise `InputError`."""
    _require_distinct("name", [register.name for register in registers])
    _require_distinct("offset", [f"{register.offset:#x}" for register in registers])
    return registers


def _word(name, offset, access, what, *, reset=0):
    """A register that is one number."""
    value = Field(name="VALUE", width=WORD_BITS, access=access, reset=reset, what=what)
    return Register(name=name, offset=offset, fields=(value,), what=what)


def _bits(access, *named):
    """One-bit fields from bit 0 up, each (name, what)."""
    return tuple(
        Field(name=name, low=low, access=access, what=what)
        for low, (name, what) in enumerate(named)
    )


# (name, what): each counts from reset, soft or hard.
COUNTERS = (
    ("CYCLES", "clock cycles"),
    ("BUSY", "cycles in which the array took a beat"),
    ("STALL_ACTS", "cycles that waited for acts alone"),
    ("STALL_WEIGHTS", "cycles that waited for weights alone"),
    ("STALL_OUTPUT", "cycles that waited for psums to be taken"),
    (
        "STALL_ARRAY",
        "cycles that waited for the array: for the drain, or for a load of trits under way",
    ),
    ("TRITS", "trits that entered the array, padding included"),
    ("ZERO_TRITS", "zero ones among them"),
    (
        "ILLEGAL_BEATS",
        "beats of the weight stream that held an illegal code, however many of them",
    ),
)
COUNTERS_OFFSET = 0x80


def _counters():
    for index, (name, what) in enumerate(COUNTERS):
        offset = COUNTERS_OFFSET + 2 * WORD_BYTES * index
        yield _word(f"{name}_LO", offset, Access.RO, f"{what}, bits 31:0 of the snapshot")
        yield _word(
            f"{name}_HI", offset + WORD_BYTES, Access.RO, f"{what}, bits 63:32 of the snapshot"
        )


REGISTERS = validate(
    (
        _word("ID", 0x00, Access.RO, 'identifies the core: "TRIT" in ASCII', reset=0x54524954),
        Register(
            name="VERSION",
            offset=0x04,
            what="version of this register map",
            fields=(
                Field(
                    name="MINOR",
                    width=16,
                    access=Access.RO,
                    reset=0,
                    what="grows where software for an older one still works",
                ),
                Field(
                    name="MAJOR",
                    low=16,
                    width=16,
                    access=Access.RO,
                    reset=3,
                    what="grows where it does not",
                ),
            ),
        ),
        Register(
            name="SHAPE",
            offset=0x08,
            what="shape of the array",
            fields=(
                Field(name="ROWS", width=16, access=Access.RO, reset=None, what="tokens"),
                Field(
                    name="COLS",
                    low=16,
                    width=16,
                    access=Access.RO,
                    reset=None,
                    what="output features",
                ),
            ),
        ),
        Register(
            name="WIDTHS",
            offset=0x0C,
            what="widths of the array",
            fields=(
                Field(
                    name="LANES",
                    width=16,
                    access=Access.RO,
                    reset=None,
                    what="input features of one beat",
                ),
                Field(
                    name="ACT_BITS",
                    low=16,
                    width=8,
                    access=Access.RO,
                    reset=None,
                    what="bits of an act",
                ),
                Field(
                    name="PSUM_BITS",
                    low=24,
                    width=8,
                    access=Access.RO,
                    reset=None,
                    what="bits of a psum inside; the stream extends the sign to 32",
                ),
            ),
        ),
        _word("MAX_K", 0x10, Access.RO, "largest K", reset=None),
        Register(
            name="QUEUE",
            offset=0x14,
            what="the queue of descriptors",
            fields=(
                Field(
                    name="DEPTH",
                    width=8,
                    access=Access.RO,
                    reset=QUEUE_DEPTH,
                    what="descriptors that may wait",
                ),
            ),
        ),
        Register(
            name="DATAFLOW",
            offset=0x18,
            what="what stays in a PE",
            fields=(
                Field(
                    name="WEIGHT_STATIONARY",
                    access=Access.RO,
                    reset=None,
                    what="0: psums, rows are tokens; 1: trits, rows are slices of k",
                    values=(("PSUMS", 0), ("TRITS", 1)),
                ),
                Field(
                    name="GROUP_TOKENS",
                    low=8,
                    width=24,
                    access=Access.RO,
                    reset=None,
                    what="most tokens that share one pass of the weights",
                ),
            ),
        ),
        Register(
            name="CONTROL",
            offset=0x20,
            what="actions",
            fields=_bits(
                Access.WO,
                (
                    "SOFT_RESET",
                    "drop the run and all waiting descriptors, zero the counters and "
                    "STATUS.RUNS_DONE, and set STATUS.FLUSHING; every other register stays",
                ),
                (
                    "SNAPSHOT",
                    "copy all counters at once into the registers that show them, which takes up "
                    "to 66 cycles; the write is answered when it is done",
                ),
                (
                    "RESUME",
                    "let STATUS.FLUSHING end: from now on the streams' beats are taken only to the "
                    "end of a packet that has begun; nothing where STATUS.FLUSHING is 0, or "
                    "together with SOFT_RESET",
                ),
            ),
        ),
        Register(
            name="STATUS",
            offset=0x24,
            what="what the core is doing",
            fields=(
                Field(name="BUSY", access=Access.RO, what="a run is under way or waits"),
                Field(name="FULL", low=1, access=Access.RO, what="the queue takes no descriptor"),
                Field(
                    name="FLUSHING",
                    low=2,
                    access=Access.RO,
                    what="after a soft reset: the core computes nothing, drops the beats of acts "
                    "and of weights, and refuses descriptors, until CONTROL.RESUME was written "
                    "and the next three bits are 0",
                ),
                Field(
                    name="ACTS_OPEN",
                    low=3,
                    access=Access.RO,
                    what="the last beat of acts that was taken had no TLAST: a packet has begun",
                ),
                Field(
                    name="WEIGHTS_OPEN",
                    low=4,
                    access=Access.RO,
                    what="likewise for weights",
                ),
                Field(
                    name="PSUM_OFFERED",
                    low=5,
                    access=Access.RO,
                    what="a beat of psums is offered and not taken yet",
                ),
                Field(
                    name="LEVEL",
                    low=8,
                    width=8,
                    access=Access.RO,
                    what="descriptors that wait",
                ),
                Field(
                    name="RUNS_DONE",
                    low=16,
                    width=16,
                    access=Access.RO,
                    what="runs ended since reset, modulo 65536",
                ),
            ),
        ),
        Register(
            name="ERROR",
            offset=0x28,
            what="errors",
            fields=_bits(
                Access.W1C,
                ("ILLEGAL_CODE", "the weight stream held an illegal code, which counted as zero"),
                ("ACTS_EARLY", "TLAST of acts came before the last beat"),
                ("ACTS_LATE", "TLAST of acts was missing on the last beat"),
                ("WEIGHTS_EARLY", "TLAST of weights came before the last beat"),
                ("WEIGHTS_LATE", "TLAST of weights was missing on the last beat"),
                ("QUEUE_OVERFLOW", "a descriptor was pushed into a full queue, and dropped"),
                (
                    "BAD_DESCRIPTOR",
                    "a pushed descriptor held M, K or N of 0, K above MAX_K, or a reserved option, "
                    "and was dropped",
                ),
                (
                    "PUSHED_FLUSHING",
                    "a descriptor was pushed while STATUS.FLUSHING was 1, and dropped",
                ),
            ),
        ),
        Register(
            name="EVENT",
            offset=0x2C,
            what="events",
            fields=_bits(Access.W1C, ("RUN_DONE", "the last psum of a run was taken")),
        ),
        Register(
            name="IRQ_ENABLE",
            offset=0x30,
            what="what raises the interrupt, which stays high as long as its cause",
            fields=_bits(Access.RW, ("RUN_DONE", "EVENT.RUN_DONE"), ("ERROR", "any bit of ERROR")),
        ),
        _word(
            "FIRST_ILLEGAL",
            0x34,
            Access.RO,
            "beat of the weight stream, from 0 in its run, that set ERROR.ILLEGAL_CODE",
        ),
        _word("M", 0x40, Access.RW, "tokens of the next descriptor"),
        _word("K", 0x44, Access.RW, "input features of the next descriptor"),
        _word("N", 0x48, Access.RW, "output features of the next descriptor"),
        Register(
            name="OPTIONS",
            offset=0x4C,
            what="options of the next descriptor",
            fields=(
                Field(
                    name="PACKING",
                    access=Access.RW,
                    what="packing of the weights: 0 is trit2, 1 is trit5",
                    values=(("TRIT2", 0), ("TRIT5", 1)),
                ),
                Field(
                    name="PSUMS_LAST",
                    low=1,
                    width=2,
                    access=Access.RW,
                    what="psums with TLAST: 0 the last beat of the run, 1 the last beat of each "
                    "pass (a group of tokens), 2 every beat; 3 is reserved",
                ),
                Field(
                    name="RESERVED",
                    low=3,
                    width=29,
                    access=Access.RW,
                    what="must be 0, or the descriptor is bad",
                ),
            ),
        ),
        Register(
            name="PUSH",
            offset=0x50,
            what="queue M, K, N and OPTIONS, which keep their values",
            fields=_bits(Access.WO, ("GO", "put the descriptor into the queue")),
        ),
        *_counters(),
    )
)

_BY_NAME = {register.name: register for register in REGISTERS}
# Bits of a byte address within the core.
ADDRESS_BITS = (max(register.offset for register in REGISTERS) + WORD_BYTES - 1).bit_length()


def register(name: str) -> Register:
    """The named register; an unknown name raises `InputError`."""
    try:
        return _BY_NAME[name]
    except (KeyError, TypeError):
        raise InputError(f"unknown register {name!r}") from None


def offset(name: str) -> int:
    """Byte offset of the named register."""
    return register(name).offset


def encode(name: str, **fields: int) -> int:
    """The word of the named register that holds `fields`, all others zero.

    Raises
    ------
    InputError
        Register or field is unknown, or a value does not fit.
    """
    chosen = register(name)
    return sum(
        chosen.field(key).require_fits(value) << chosen.field(key).low
        for key, value in fields.items()
    )


def decode(name: str, word: int) -> dict[str, int]:
    """Fields of a word read from the named register."""
    require_int("word", word, low=0, high=(1 << WORD_BITS) - 1)
    return {field.name: (word & field.mask) >> field.low for field in register(name).fields}


def constants(config: ArrayConfig) -> dict[str, dict[str, int]]:
    """Fields of registers that hold the configuration; every other field has a reset value."""
    return {
        "SHAPE": {"ROWS": config.rows, "COLS": config.cols},
        "WIDTHS": {
            "LANES": config.lanes,
            "ACT_BITS": config.act_bits,
            "PSUM_BITS": config.psum_bits,
        },
        "MAX_K": {"VALUE": config.max_k},
        "DATAFLOW": {
            "WEIGHT_STATIONARY": int(config.dataflow == Dataflow.WEIGHT_STATIONARY),
            "GROUP_TOKENS": config.group_tokens,
        },
    }


def reset_word(name: str, config: ArrayConfig) -> int:
    """What the named register reads after reset."""
    known = constants(config).get(name, {})
    return encode(
        name,
        **{
            field.name: known[field.name] if field.reset is None else field.reset
            for field in register(name).fields
        },
    )


def c_header(prefix: str = "TRITLOOM") -> str:
    """The table as a C header of macros: offsets, and shift and mask of every field."""
    guard = f"{prefix}_REGS_H"
    lines = [
        "/* Registers of the Tritloom core. Generated by `python -m hw regmap`; do not edit. */",
        f"#ifndef {guard}",
        f"#define {guard}",
    ]
    for register in REGISTERS:
        lines += [
            "",
            f"/* {register.what} */",
            f"#define {prefix}_{register.name}_OFFSET {register.offset:#04x}u",
        ]
        for field in register.fields:
            stem = f"{prefix}_{register.name}_{field.name}"
            if field.what != register.what:
                lines.append(f"/* {field.what} ({field.access}) */")
            lines += [
                f"#define {stem}_SHIFT {field.low}u",
                f"#define {stem}_MASK {field.mask:#010x}u",
            ]
            if field.reset:
                lines.append(f"#define {stem}_RESET {field.reset:#x}u")
    return "\n".join([*lines, "", f"#endif /* {guard} */", ""])


def markdown() -> str:
    """The table as a page of the book, for those who write a driver."""
    lines = [
        "# Registers",
        "",
        "<!-- Generated from arch/regmap.py by `python -m hw regmap`; do not edit. -->",
        "",
        f"AXI4-Lite, {ADDRESS_BITS} address bits, words of {WORD_BITS} bits with byte strobes.",
        "Offsets are in bytes. An address that names no register, or is no multiple of "
        f"{WORD_BYTES}, is",
        "answered SLVERR and does nothing. Bits in no field read as 0 and ignore writes.",
        "",
        "To start a run, write M, K, N and OPTIONS, then 1 to PUSH. To read counters, write",
        "CONTROL.SNAPSHOT, then read them in any order: all are of one and the same cycle.",
        "",
        "| access | meaning |",
        "|---|---|",
        *(f"| {access} | {meaning} |" for access, meaning in MEANING.items()),
        "",
        "| offset | register | bits | field | access | reset | what |",
        "|---|---|---|---|---|---|---|",
    ]
    for register in REGISTERS:
        whole = len(register.fields) == 1 and register.fields[0].what == register.what
        if not whole:
            lines.append(
                f"| `{register.offset:#04x}` | **{register.name}** | | | | | {register.what} |"
            )
        for field in register.fields:
            reset = "configuration" if field.reset is None else f"`{field.reset:#x}`"
            place = f"`{register.offset:#04x}` | **{register.name}**" if whole else " | "
            lines.append(
                f"| {place} | {field.bits} | {field.name} | {field.access} | {reset} "
                f"| {field.what} |"
            )
    return "\n".join([*lines, ""])
