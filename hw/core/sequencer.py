"""The sequencer: walks the tiles of a run, and feeds the array its acts.

A run is a descriptor (m, k, n). Tokens go in groups; for each group, output features in groups of
`cols`. Nothing is divided: what is left of m, n and k is counted down.

    Output-stationary, for each of these tiles: k in slices of `lanes`, a beat for each, that is of
    all the group's tokens.
    Weight-stationary, for each group of features: k in tiles of `rows` slices, for each of these
    the group's tokens, a beat for each, that is of all the tile's slices.

Acts. The beats that belong to a group of tokens come in once, in the order above, TLAST on the
last, and go through the act buffer: the first group of features reads them as soon as they are
written, the others read them again. So a run never waits for a buffer to fill, and one bank is
enough.

    stream --> act buffer --> its output register --> array

A read takes three cycles: an address, the word, the register. Each of the three waits where the one
in front of it does, so none is lost, and a bubble is closed where the array waits.

TLAST too early: the beats that are missing are zero acts, without waiting for the stream. Missing
on the last one: beats are dropped up to and with the next TLAST. Either is reported by a strobe.

`Loads` walks the trits of a weight-stationary array, which run ahead of its acts.
"""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.regmap import WORD_BITS
from tritloom.hw.parts.ports import Modules, Ports, members
from tritloom.hw.parts.ram import Ram

# Ports beside acts_data that belong to a beat.
BESIDE_ACTS = (
    "acts_last",
    "acts_tokens",
    "acts_pass_last",
    "acts_first_k",
    "acts_last_k",
    "acts_run_last",
    "acts_mark_last",
    "acts_mark_all",
)


def steps(config: ArrayConfig) -> dict[str, int]:
    """The size of a tile in m, k and n."""
    return {
        "m": config.group_tokens,
        "k": config.slices_per_tile * config.lanes,
        "n": config.cols,
    }


def left_bits(config: ArrayConfig) -> dict[str, int]:
    """Bits of what `Left` keeps of m, k and n, the sign included.

    A size is kept less what a tile takes, less one; a tile may take more of k than `max_k`.
    """
    tile = steps(config)
    most = {"m": (1 << WORD_BITS) - 1, "k": config.max_k, "n": (1 << WORD_BITS) - 1}
    return {size: max(most[size], tile[size]).bit_length() + 1 for size in tile}


def _run_ports(config):
    what = {"m": "tokens", "k": "input features", "n": "output features"}
    return {
        **{
            f"run_{size}": (
                In,
                bits,
                f"{what[size]} of the run offered, less those of a tile, less one; signed",
            )
            for size, bits in left_bits(config).items()
        },
        "run_valid": (In, 1, "high while a run is offered"),
        "run_ready": (Out, 1, "high when the run offered is taken this cycle"),
    }


def ports(config: ArrayConfig) -> Ports:
    """Ports of the sequencer: name -> (direction, width, description)."""
    by_dataflow = {
        Dataflow.OUTPUT_STATIONARY: {
            "acts_tokens": (Out, config.rows.bit_length(), "tokens of the tile to drain"),
            "acts_pass_last": (Out, 1, "high with the last beat of all tiles of a token group"),
        },
        Dataflow.WEIGHT_STATIONARY: {
            "acts_first_k": (Out, 1, "high for all of a tile with the first slices of k"),
            "acts_last_k": (Out, 1, "high for all of a tile with the last slices of k"),
        },
    }
    return {
        **_run_ports(config),
        "run_psums_last": (In, 2, "psums to be marked: of the run, of each pass the last, or all"),
        "busy": (Out, 1, "high while beats of a run are still to enter the array"),
        "stream_data": (In, config.acts_bits, "act [token or slice][lane] of the stream"),
        "stream_last": (In, 1, "high with the stream's last beat of a group of tokens"),
        "stream_valid": (In, 1, "high while the stream offers a beat of acts"),
        "stream_ready": (Out, 1, "high when the sequencer takes the stream's beat this cycle"),
        "early_last": (Out, 1, "strobe, a group of tokens ended a cycle ago too early"),
        "late_last": (Out, 1, "strobe, a group of tokens failed to end a cycle ago"),
        "acts_data": (Out, config.acts_bits, "act [token or slice][lane] to the array"),
        "acts_last": (Out, 1, "high with the last beat of a tile"),
        **by_dataflow[config.dataflow],
        "acts_run_last": (Out, 1, "high with last slices of k where the run ends with the tile"),
        "acts_mark_last": (Out, 1, "likewise where the last psums of the tile are marked"),
        "acts_mark_all": (Out, 1, "likewise where all psums of the tile are marked"),
        "acts_valid": (Out, 1, "high while a beat is offered to the array"),
        "acts_ready": (In, 1, "high when the array takes the beat of acts this cycle"),
    }


def load_ports(config: ArrayConfig) -> Ports:
    """Ports of the walker of trits: name -> (direction, width, description)."""
    return {
        **_run_ports(config),
        "busy": (Out, 1, "high while slices of a run are still to be loaded"),
        "taken": (In, 1, "high when the array takes a slice of trits this cycle"),
        "last": (Out, 1, "high while the next slice is the last of a pass"),
    }


class Left:
    """Counts of what is left of a run: tokens, output features, input features.

    Each is kept less what the next tile takes, less one, so that its sign tells the last tile.

    Parameters
    ----------
    run : component with the ports of `_run_ports`
    idle : Value
        No run is under way; the one that is offered may be taken.
    done : Value
        The tile's slices are done, which are the run's last where `all_last`.

    Attributes
    ----------
    m_less : Signal
        Tokens left, less a group of them, less one.
    k_first, k_last, group_last, run_last, all_last : Signal
        The next tile's slices are the first or last of k, of the last features, of the last tokens;
        and all three of these.
    """

    def __init__(self, m: Module, config: ArrayConfig, run, *, idle: Value, done: Value):
        self.k_first = Signal()
        self.k_last = Signal()
        self.group_last = Signal()
        self.run_last = Signal()
        self.all_last = Signal()
        m.d.comb += self.all_last.eq(self.k_last & self.group_last & self.run_last)
        # The decisions come from registers, which the late `done` enables.
        starts = idle | self.all_last
        for size, last in (("k", self.k_last), ("n", self.group_last), ("m", self.run_last)):
            whole = getattr(run, f"run_{size}")
            less = Signal(signed(len(whole)), name=f"{size}_less")
            fewer = less - steps(config)[size]
            if size != "m":
                kept = Signal(signed(len(whole)), name=f"{size}_all")
                with m.If(starts & (idle | done)):
                    m.d.sync += kept.eq(whole)
                fewer = Mux(last, kept, fewer)
            with m.If(idle | done):
                m.d.sync += less.eq(Mux(starts, whole, fewer))
                if size == "k":
                    m.d.sync += self.k_first.eq(starts | last)
            m.d.comb += last.eq(less[-1])
            done = done & last
        self.m_less = less


def act_buffer(config: ArrayConfig) -> Ram:
    """The memory of the acts of a group of tokens."""
    beats = config.act_buffer_beats
    return Ram(
        width=config.acts_bits,
        # A group may begin at the second word; addresses wrap around where all bits are used.
        depth=max(2, beats + bool(beats & beats - 1)),
        registered=True,
        technology=config.technology,
    )


class Sequencer(wiring.Component):
    """The sequencer of an array.

    Its members are those of `ports`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__(members(ports(config)))

    def elaborate(self, platform):
        config = self.config
        output = config.dataflow == Dataflow.OUTPUT_STATIONARY
        m = Module()

        active = Signal()
        step = Signal()
        token_last = Signal()
        left = Left(m, config, self, idle=~active, done=step & token_last)
        # Token of the tile, where a beat is a token.
        token = Signal(range(config.buffer_tokens))
        tile_last = Signal()
        replay_last = Signal()
        group = config.group_tokens
        last_token = Mux(left.run_last, (left.m_less + group)[: len(token)], group - 1)
        m.d.comb += [
            token_last.eq(1 if output else token == last_token),
            replay_last.eq(left.k_last & token_last),
            tile_last.eq(left.k_last if output else token_last),
        ]
        first_features = Signal()
        address = Signal(act_buffer(config).address_bits)
        # Where the group's acts begin, 0 or 1: a group of one beat must not come to the word that
        # the one before it is still to be read from.
        base = Signal()

        # The stream's side: is there a beat for the first features in this cycle?
        # `ended`: beats are missing from this one on. `cut`, and `end`, the address of the last
        # beat that came, tell the replays so.
        ended = Signal()
        cut = Signal()
        end = Signal.like(address)
        dropping = Signal()
        wanted = Signal()
        room = Signal()
        took = Signal()
        finished = Signal()
        psums_last = Signal(2)
        m.d.comb += [
            wanted.eq(active & first_features & ~ended & ~dropping),
            took.eq(step & wanted),
            finished.eq(token_last & left.all_last),
            step.eq(active & room & (~first_features | ended | (wanted & self.stream_valid))),
            self.stream_ready.eq(dropping | (wanted & room)),
        ]
        m.d.sync += [
            self.early_last.eq(took & self.stream_last & ~replay_last),
            self.late_last.eq(took & ~self.stream_last & replay_last),
        ]
        with m.If(dropping & self.stream_valid & self.stream_last):
            m.d.sync += dropping.eq(0)
        with m.If(took & self.stream_last & ~replay_last):
            m.d.sync += [ended.eq(1), cut.eq(1), end.eq(address)]
        with m.If(took & ~self.stream_last & replay_last):
            m.d.sync += dropping.eq(1)

        # A step goes to the next beat, tile, group of features, group of tokens, or run.
        turned = Signal()
        m.d.comb += turned.eq(base ^ (left.group_last & left.k_first & (token == 0)))
        with m.If(step):
            m.d.sync += address.eq(Mux(replay_last, turned, address + 1))
            if not output:
                m.d.sync += token.eq(Mux(token_last, 0, token + 1))
            with m.If(cut & (address == end)):
                m.d.sync += ended.eq(1)
            with m.If(replay_last):
                m.d.sync += [ended.eq(0), first_features.eq(left.group_last), base.eq(turned)]
                with m.If(left.group_last):
                    m.d.sync += cut.eq(0)
        m.d.comb += self.run_ready.eq(~active | (step & finished))
        with m.If(self.run_ready):
            m.d.sync += [
                active.eq(self.run_valid),
                first_features.eq(1),
                psums_last.eq(self.run_psums_last),
            ]

        # The bits of a beat go with its acts: the address is asked for, the word is read, and comes
        # to the buffer's output register, in front of the array.
        layout = data.StructLayout(
            {"valid": 1, "missing": 1}
            | {name: width for name, (_, width, _) in ports(config).items() if name in BESIDE_ACTS}
        )
        asked, read, offered = (Signal(layout, name=name) for name in ("asked", "read", "offered"))
        entering = {
            "valid": step,
            "missing": ended,
            "acts_last": tile_last,
            "acts_run_last": left.all_last,
            "acts_mark_last": left.all_last | (psums_last[0] & left.k_last & left.group_last),
            "acts_mark_all": psums_last[1],
        }
        if output:
            entering |= {
                "acts_tokens": Mux(left.run_last, left.m_less + group + 1, group),
                "acts_pass_last": replay_last & left.group_last,
            }
        else:
            entering |= {"acts_first_k": left.k_first, "acts_last_k": left.k_last}
        takes_read = Signal()
        takes_offered = Signal()
        m.d.comb += [
            takes_offered.eq(~offered.valid | self.acts_ready),
            takes_read.eq(~read.valid | takes_offered),
            room.eq(~(asked.valid & read.valid) | takes_offered),
        ]
        asked_address = Signal.like(address, reset_less=True)
        with m.If(room):
            m.d.sync += asked_address.eq(address)
            m.d.sync += [asked[name].eq(value) for name, value in entering.items()]
        with m.If(takes_read):
            m.d.sync += read.eq(asked)
        with m.If(takes_offered):
            m.d.sync += offered.eq(read)
        acts = Signal(config.acts_bits)
        m.submodules.act_buffer = Instance(
            f"{self.prefix}_act_buffer",
            i_clk=ClockSignal(),
            # Until the beat is there the buffer takes whatever is offered in its place.
            i_write_enable=first_features,
            i_write_address=address,
            i_write_data=self.stream_data,
            i_read_enable=takes_read,
            i_read_address=asked_address,
            i_output_enable=takes_offered,
            o_read_data=acts,
        )
        m.d.comb += [
            self.acts_data.eq(Mux(offered.missing, 0, acts)),
            self.acts_valid.eq(offered.valid),
            *(
                getattr(self, name).eq(offered[name])
                for name in layout.members
                if name in BESIDE_ACTS
            ),
            self.busy.eq(active | asked.valid | read.valid | offered.valid),
        ]
        return m


class Loads(wiring.Component):
    """The walker of trits: counts a run's slices into a weight-stationary array, pass by pass.

    Its members are those of `load_ports`.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(members(load_ports(config)))

    def elaborate(self, platform):
        config = self.config
        m = Module()
        row = Signal(range(config.rows))
        row_last = Signal()
        left = Left(m, config, self, idle=~self.busy, done=self.taken & row_last)
        m.d.comb += [
            row_last.eq(row == config.rows - 1),
            self.last.eq(row_last & left.k_last & left.group_last),
            self.run_ready.eq(~self.busy | (self.taken & row_last & left.all_last)),
        ]
        with m.If(self.taken):
            m.d.sync += row.eq(Mux(row_last, 0, row + 1))
        with m.If(self.run_ready):
            m.d.sync += self.busy.eq(self.run_valid)
        return m


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of the sequencer by name, without the walker of trits."""
    return {
        f"{prefix}_sequencer": Sequencer(config, prefix=prefix),
        f"{prefix}_act_buffer": act_buffer(config),
    }


def load_modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """The walker of trits by name; none where the array is output-stationary."""
    if config.dataflow == Dataflow.OUTPUT_STATIONARY:
        return {}
    return {f"{prefix}_loads": Loads(config)}
