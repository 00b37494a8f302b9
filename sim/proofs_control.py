"""What is proved of control: AXI4-Lite answers every request, and the sequencer comes to rest."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value

from arch.config import ArrayConfig, Dataflow
from hw import registers, sequencer
from hw.counters import WORDS
from hw.verilog import emit

from .formal import Design, Statements
from .proofs_streams import holds

TOP = "dut"
# Cycles for which the counters are copied, at most: to the end of a round, a round, and a cycle.
COPYING = 2 * WORDS + 1
# The same for a read, which after a reset may first see a round being copied.
READING = COPYING + WORDS


def bus(config: ArrayConfig) -> Design:
    """The registers, memories free: what they hold plays no part in when there is an answer."""
    top = f"{TOP}_registers"
    verilog, _ = emit(registers.modules(config, prefix=TOP), top=top)
    return Design(
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


def walker(config: ArrayConfig) -> Design:
    """The sequencer and its act buffer."""
    top = f"{TOP}_sequencer"
    modules = {
        f"{TOP}_act_buffer": sequencer.act_buffer(config),
        top: sequencer.Sequencer(config, prefix=TOP),
    }
    verilog, _ = emit(modules, top=top)
    beside = sum(
        width
        for name, (_, width, _) in sequencer.ports(config).items()
        if name in sequencer.BESIDE_ACTS
    )
    wide = {size: width for size, (_, width, _) in _runs(config).items()}
    seen = {f"{size}_less": width for size, width in wide.items()}
    seen |= {f"{size}_all": wide[size] for size in "kn"}
    seen |= dict.fromkeys(("asked", "read", "offered"), 2 + beside)
    seen |= dict.fromkeys(("active", "step", "first_features", "ended", "dropping"), 1)
    if config.dataflow == Dataflow.WEIGHT_STATIONARY and config.buffer_tokens > 1:
        seen["token"] = (config.buffer_tokens - 1).bit_length()
    return Design(verilog=verilog, top=top, seen=seen)


def _runs(config):
    ports = sequencer.ports(config)
    return {size: ports[f"run_{size}"] for size in "mnk"}


def rest(config: ArrayConfig) -> Statements:
    """Each step of a run brings its end nearer, and no step waits where the streams do not.

    What is left of tokens, output features, input features and the tile's tokens, in this order of
    weight, falls with each step and has a floor; so any run ends.
    """
    steps = sequencer.steps(config)

    def statements(m: Module, s: dict[str, Signal]) -> None:
        active, step, ready = s["active"], s["step"], s["acts_ready"]
        # Of a descriptor that the registers let through.
        most = {"m": 2**32 - 1, "n": 2**32 - 1, "k": config.max_k}
        for size, limit in most.items():
            whole = s[f"run_{size}"].as_signed()
            low, high = -steps[size], limit - steps[size] - 1
            m.d.comb += Assume((whole >= low) & (whole <= high))
        less = {size: s[f"{size}_less"].as_signed() for size in "mnk"}
        for size, value in less.items():
            m.d.comb += Assert(~active | (value >= -steps[size]), f"floor of {size}")
        for size in "kn":
            kept = s[f"{size}_all"].as_signed()
            m.d.comb += Assert(~active | (kept >= -steps[size]), f"floor of all {size}")
        tokens = Const(0)
        if "token" in s:
            group = config.group_tokens
            last = Mux(less["m"] < 0, less["m"] + group, group - 1)
            tokens = last - s["token"]
            m.d.comb += Assert(Mux(active, tokens >= 0, s["token"] == 0), "floor of tokens")
        ends = (less["m"] < 0) & (less["n"] < 0) & (less["k"] < 0) & (tokens == 0)
        measure = [less["m"], less["n"], less["k"], tokens]
        before = []
        for number, value in enumerate(measure):
            kept = Signal(value.shape(), name=f"measure_{number}")
            m.d.sync += kept.eq(value)
            before.append(kept)
        stepped, ended, waited = Signal(), Signal(), Signal()
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


def _falls(before: list[Value], after: list[Value]) -> Value:
    """Whether numbers in the order of a dictionary are smaller."""
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
