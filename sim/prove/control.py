"""What is proved of control: AXI4-Lite answers every request, and the sequencer comes to rest."""

from __future__ import annotations

import dataclasses

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.regmap import QUEUE_DEPTH, WORD_BITS
from tritloom.hw.core import registers, sequencer
from tritloom.hw.core.counters import WORDS
from tritloom.hw.emit import emit

from .formal import ProvedDesign, Statements
from .streams import Tracked, holds

TOP = "dut"
# Cycles for which the counters are copied, at most: to the end of a round, a round, and a cycle.
COPYING = 2 * WORDS + 1
# Cycles for which a read waits, at most: after a reset it may first see a round being copied.
READING = COPYING + WORDS


def bus(config: ArrayConfig) -> ProvedDesign:
    """The registers, memories free: what they hold plays no part in when there is an answer."""
    top = f"{TOP}_registers"
    verilog, _ = emit(registers.modules(config, prefix=TOP), top=top)
    return ProvedDesign(
        verilog=verilog,
        top=top,
        free=(f"{TOP}_totals", f"{TOP}_queue"),
        seen={
            "address_held": 1,
            "word_held": 1,
            "written": 1,
            "taken": 1,
            "copying": 1,
            "counters.turn": (WORDS - 1).bit_length(),
            "counters.wanted": 1,
            "counters.copied": 1,
        },
    )


def answers(config: ArrayConfig) -> Statements:
    """One answer to each request, which holds until it is taken."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        def under_way(request, answer):
            """Requests that are taken and not answered, by what crosses the ports."""
            count = Signal(3, name=f"{request}_under_way")
            took, gave = (
                s[f"s_axil_{channel}valid"] & s[f"s_axil_{channel}ready"]
                for channel in (request, answer)
            )
            m.d.sync += count.eq(count + took - gave)
            return count

        holds(m, "b", s["s_axil_bvalid"], s["s_axil_bready"], s["s_axil_bresp"])
        answer = Cat(s["s_axil_rresp"], s["s_axil_rdata"])
        holds(m, "r", s["s_axil_rvalid"], s["s_axil_rready"], answer)
        reading = s["taken"] + s["s_axil_rvalid"]
        m.d.comb += [
            Assert(under_way("aw", "b") == s["address_held"] + s["written"], "a b for each aw"),
            Assert(under_way("w", "b") == s["word_held"] + s["written"], "a b for each w"),
            Assert(reading <= 1, "one read at a time"),
            Assert(under_way("ar", "r") == reading, "an r for each ar"),
        ]

    return statements


def in_time(config: ArrayConfig) -> Statements:
    """Where the master takes answers at once, they come within cycles."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        def waited(name, waits):
            cycles = Signal(range(READING + 2), name=name)
            m.d.sync += cycles.eq(Mux(waits, cycles + 1, 0))
            return cycles

        def delayed(name, value):
            before = Signal(name=name)
            m.d.sync += before.eq(value)
            return before

        m.d.comb += Assume(s["s_axil_bready"] & s["s_axil_rready"])
        # Copying ends: so many cycles at most are still to come.
        wanted, copied, turn = (s[f"counters.{name}"] for name in ("wanted", "copied", "turn"))
        copying, written = s["copying"], s["written"]
        left = Mux(wanted, 2 * WORDS - turn, WORDS - turn)
        begun = delayed("begun", s["address_held"] & s["word_held"] & ~written)
        waits = waited("write_waits", written & ~s["s_axil_bvalid"])
        m.d.comb += [
            Assert(copying == (wanted | copied), "copying"),
            Assert(~begun | written, "a write is carried out"),
            Assert(~s["soft_reset"] | (written & (waits == 0)), "a soft reset is a write"),
            Assert(~(written & copying) | (waits + left <= COPYING), "copying ends"),
            Assert(waits <= COPYING, "a write is answered"),
        ]
        reads = waited("read_waits", s["s_axil_arvalid"] & ~s["s_axil_arready"])
        reading = s["taken"] | s["s_axil_rvalid"]
        m.d.comb += [
            Assert(~s["taken"] | (reads == 0), "taken"),
            Assert(~s["s_axil_rvalid"] | (reads <= 1), "answered"),
            Assert(copying | (reads <= 2) | ~reading, "none under way"),
            Assert(~copying | written | (~wanted & (reads <= turn)), "the round after a reset"),
            Assert(~(written & copying) | (waits != 0) | (reads <= WORDS), "one round before"),
            Assert(~copying | (reads + left <= READING), "a read waits for a copy"),
            Assert(reads <= READING, "a read is taken"),
            Assert(~delayed("taken_before", s["taken"]) | s["s_axil_rvalid"], "a read is answered"),
        ]

    return statements


def walker(config: ArrayConfig) -> ProvedDesign:
    """The sequencer and its act buffer."""
    top = f"{TOP}_sequencer"
    modules = {
        f"{TOP}_act_buffer": sequencer.act_buffer(config),
        top: sequencer.Sequencer(config, prefix=TOP),
    }
    verilog, _ = emit(modules, top=top)
    ports = sequencer.ports(config)
    beside = sum(ports[name][1] for name in sequencer.BESIDE_ACTS if name in ports)
    seen = _left(config) | dict.fromkeys(("asked", "read", "offered"), 2 + beside)
    seen |= dict.fromkeys(("active", "step", "first_features", "ended", "dropping"), 1)
    if config.dataflow == Dataflow.WEIGHT_STATIONARY and config.buffer_tokens > 1:
        seen["token"] = (config.buffer_tokens - 1).bit_length()
    return ProvedDesign(verilog=verilog, top=top, seen=seen)


def loads(config: ArrayConfig) -> ProvedDesign:
    """The walker of the trits of a weight-stationary array."""
    verilog, _ = emit({TOP: sequencer.Loads(config)}, top=TOP)
    seen = _left(config)
    if config.rows > 1:
        seen["row"] = (config.rows - 1).bit_length()
    return ProvedDesign(verilog=verilog, top=TOP, seen=seen)


def _left(config):
    ports = sequencer.ports(config)
    widths = {size: ports[f"run_{size}"][1] for size in "mnk"}
    seen = {f"{size}_less": width for size, width in widths.items()}
    return seen | {f"{size}_all": widths[size] for size in "nk"}


def rest(config: ArrayConfig) -> Statements:
    """Any run ends, and no step waits where the streams do not."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        active, step, ready = s["active"], s["step"], s["acts_ready"]
        tokens = Const(0)
        if "token" in s:
            group = config.group_tokens
            m_less = s["m_less"].as_signed()
            tokens = Mux(m_less < 0, m_less + group, group - 1) - s["token"]
            m.d.comb += Assert(Mux(active, tokens >= 0, s["token"] == 0), "floor of tokens")
        _ends(m, s, config, active=active, step=step, inner=tokens)
        m.d.comb += [
            Assert(~(active & ~s["dropping"] & s["stream_valid"] & ready) | step, "no step waits"),
            Assert(~s["dropping"] | s["stream_ready"], "a late packet goes on"),
        ]
        # Afterwards the beats under way leave, and it is at rest.
        quiet = Signal(range(4))
        m.d.sync += quiet.eq(Mux(active | ~ready, 0, Mux(quiet == 3, 3, quiet + 1)))
        m.d.comb += [
            Assert((quiet < 1) | active | ~s["asked"][0], "asked"),
            Assert((quiet < 2) | active | ~s["read"][0], "read"),
            Assert((quiet < 3) | active | ~s["busy"], "at rest"),
        ]

    return statements


def loads_rest(config: ArrayConfig) -> Statements:
    """State that the walker of trits comes to rest; its steps are slices that are taken."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        rows = Const(0)
        if "row" in s:
            rows = config.rows - 1 - s["row"]
            m.d.comb += Assert(Mux(s["busy"], rows >= 0, s["row"] == 0), "floor of rows")
        # The core offers trits while there is a run.
        m.d.comb += Assume(~s["taken"] | s["busy"])
        _ends(m, s, config, active=s["busy"], step=s["taken"], inner=rows)

    return statements


def _ends(m, s, config, *, active, step, inner):
    """Each step of a run brings its end nearer.

    What is left of tokens, output features, input features and the tile's tokens or slices, in this
    order of weight, falls with each step and has a floor; so any run ends.
    """
    steps = sequencer.steps(config)
    # The registers let no descriptor with larger sizes through.
    most = {"m": 2**32 - 1, "n": 2**32 - 1, "k": config.max_k}
    for size, limit in most.items():
        whole = s[f"run_{size}"].as_signed()
        m.d.comb += Assume((whole >= -steps[size]) & (whole <= limit - steps[size] - 1))
    kept = [s[f"{size}_all"].as_signed() for size in "nk"]
    measure = [s[f"{size}_less"].as_signed() for size in "mnk"]
    for size, value in zip("nkmnk", (*kept, *measure), strict=True):
        m.d.comb += Assert(~active | (value >= -steps[size]), f"floor of {size}")
    ends = Cat(value < 0 for value in measure).all() & (inner == 0)
    measure.append(inner)
    before = [Signal(value.shape(), name=f"measure_{i}") for i, value in enumerate(measure)]
    m.d.sync += [old.eq(new) for old, new in zip(before, measure, strict=True)]
    stepped, ended, waited = (Signal(name=name) for name in ("stepped", "run_ended", "waited"))
    m.d.sync += [
        stepped.eq(step & ~ends),
        ended.eq(step & ends & ~s["run_valid"]),
        waited.eq(active & ~step),
    ]
    same = Cat(a == b for a, b in zip(measure, before, strict=True)).all()
    m.d.comb += [
        Assert(~step | active, "steps are a run's"),
        Assert(~stepped | (active & _falls(before, measure)), "falls"),
        Assert(~waited | (active & same), "waits as it is"),
        Assert(~ended | ~active, "ends"),
    ]


def _falls(before: list[Value], after: list[Value]) -> Value:
    """Whether a row of numbers is smaller, the first that differ deciding."""
    if not before:
        return Const(0)
    (old, *old_rest), (new, *new_rest) = before, after
    return (new < old) | ((new == old) & _falls(old_rest, new_rest))


def acts_hold(config: ArrayConfig) -> Statements:
    """Beats of acts hold until the array takes them."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        told = [s[name] for name in ("acts_data", *sequencer.BESIDE_ACTS) if name in s]
        holds(m, "acts", s["acts_valid"], s["acts_ready"], *told)

    return statements


def descriptors(config: ArrayConfig) -> ProvedDesign:
    """The registers, looking at the queue of descriptors; its memory is what `queued` says."""
    design = bus(config)
    ram = registers.queue(config)
    seen = {
        "queue.write_enable": 1,
        "queue.write_address": ram.address_bits,
        "queue.write_data": ram.width,
        "queue.read_address": ram.address_bits,
    }
    seen |= {"push": 1, "level": QUEUE_DEPTH.bit_length(), "full": 1}
    seen |= dict.fromkeys(("first", "free"), (QUEUE_DEPTH - 1).bit_length())
    # The registers of m, k and n are seen as they are read.
    seen |= {
        signal: WORD_BITS if name in "mkn" else width for name, signal, width in _fields(config)
    }
    # The counters delay answers, by any number of cycles here.
    return dataclasses.replace(design, seen=seen, free=(*design.free, f"{TOP}_counters"))


def _fields(config):
    """(field of a descriptor, signal of what would be pushed, width)."""
    return [
        (name, f"word_{name}" if name in "mkn" else f"field_options_{name}", width)
        for name, width in registers.descriptor_fields(config).items()
    ]


def queued(config: ArrayConfig) -> Statements:
    """Descriptors are offered in the order of their pushes, once each, and hold."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        # A soft reset drops them.
        m.d.comb += Assume(~s["soft_reset"])
        offered = Cat(s[f"descriptor_{name}"] for name, _, _ in _fields(config))
        # The queue stores fewer bits of k than its register has.
        full = s["full"]
        pushed = Cat(s[signal][:width] for _, signal, width in _fields(config))
        valid, ready = s["descriptor_valid"], s["descriptor_ready"]
        tracked = Tracked(
            m, entering=s["push"], leaving=valid & ready, word=pushed, depth=QUEUE_DEPTH
        )
        # The memory's contract, for the place of that descriptor, whichever it is.
        place = tracked.which[: len(s["first"])]
        stored = Signal(len(pushed))
        with m.If(s["queue.write_enable"] & (s["queue.write_address"] == place)):
            m.d.sync += stored.eq(s["queue.write_data"])
        front = tracked.inside & (tracked.ahead == 0)
        m.d.comb += [
            Assume((s["queue.read_address"] != place) | (offered == stored)),
            Assert(s["level"] == tracked.level, "level"),
            Assert(s["first"] == tracked.left[: len(place)], "first"),
            Assert(s["free"] == tracked.came[: len(place)], "free"),
            Assert(full == (s["level"] == QUEUE_DEPTH), "full"),
            Assert(~tracked.inside | (stored == tracked.word), "stored"),
            Assert(valid == (tracked.level != 0), "valid until the last is taken"),
            # In every cycle in which it is in front.
            Assert(~front | (offered == tracked.word), "as it came"),
        ]

    return statements
