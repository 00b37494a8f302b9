"""The sequencer: walks the tiles of a run, and feeds the array its acts.

A run is a descriptor (m, k, n). Tokens go in groups; for each group, output features in groups of
`cols`. Nothing is divided: what is left of m, n and k is counted down.

    Output-stationary, for each of these tiles: k in slices of `lanes`, a beat for each, that is of
    all the group's tokens.
    Weight-stationary, for each group of features: k in tiles of `rows` slices, for each of these
    the group's tokens, a beat for each, that is of all the tile's slices.

Acts. The beats that belong to a group of tokens come in once, in the order above, TLAST on the
last. They feed the first group of features as they come and are written to the act buffer, which
replays them for the others. So a run never waits for a buffer to fill, and one bank is enough.

    stream --+--> first features ---+--> stage --> array
             +--> act buffer -------+
                  (a read takes a cycle, which the stage hides)

TLAST too early: the beats that are missing are zero acts, without waiting for the stream. Missing
on the last one: beats are dropped up to and with the next TLAST. Either is reported by a strobe.

`Loads` walks the trits of a weight-stationary array, which run ahead of its acts.
"""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch.config import ArrayConfig, Dataflow

from .ram import Ram

WORD_BITS = 32


def _run_ports(config, *sizes):
    bits = {"m": WORD_BITS, "k": config.max_k.bit_length(), "n": WORD_BITS}
    what = {"m": "tokens", "k": "input features", "n": "output features"}
    return {
        **{f"run_{size}": (In, bits[size], f"{what[size]} of the run offered") for size in sizes},
        "run_valid": (In, 1, "a run is offered"),
        "run_ready": (Out, 1, "and taken"),
    }


def ports(config: ArrayConfig) -> dict[str, tuple]:
    """Of the sequencer: name -> (direction, width, description)."""
    by_dataflow = {
        Dataflow.OUTPUT_STATIONARY: {
            "acts_tokens": (Out, config.rows.bit_length(), "tokens of the tile"),
            "acts_pass_last": (Out, 1, "last beat of a pass: of all tiles of a token group"),
        },
        Dataflow.WEIGHT_STATIONARY: {
            "acts_first_k": (Out, 1, "of a tile with the first slices of k"),
            "acts_last_k": (Out, 1, "of a tile with the last slices of k"),
        },
    }
    return {
        **_run_ports(config, "m", "k", "n"),
        "busy": (Out, 1, "beats of a run are still to enter the array"),
        "stream_data": (In, config.acts_bits, "a beat of acts"),
        "stream_last": (In, 1, "last beat of a group of tokens"),
        "stream_valid": (In, 1, "a beat of acts is offered"),
        "stream_ready": (Out, 1, "and taken"),
        "early_last": (Out, 1, "strobe: a group of tokens ended a cycle ago too early"),
        "late_last": (Out, 1, "strobe: a group of tokens did not end a cycle ago"),
        "acts_data": (Out, config.acts_bits, "to the array"),
        "acts_last": (Out, 1, "last beat of a tile"),
        **by_dataflow[config.dataflow],
        "acts_run_last": (Out, 1, "last beat of the run"),
        "acts_valid": (Out, 1, "a beat is offered"),
        "acts_ready": (In, 1, "and taken"),
    }


def load_ports(config: ArrayConfig) -> dict[str, tuple]:
    """The same of `Loads`."""
    return {
        **_run_ports(config, "m", "k", "n"),
        "busy": (Out, 1, "slices of a run are still to be loaded"),
        "taken": (In, 1, "a slice of trits is taken"),
        "last": (Out, 1, "the next slice is the last of its pass"),
    }


class Left:
    """What is left of a run: tokens, output features of the group, input features of those.

    Attributes
    ----------
    k, n, m : Signal
    k_all : Signal
        Of the run.
    k_last, group_last, run_last : Signal
        The next tile's slices are the last of k, of the last features, of the last tokens.
    """

    def __init__(self, m: Module, config: ArrayConfig):
        self.config = config
        k_bits = config.max_k.bit_length()
        self.m = Signal(WORD_BITS, name="m_left")
        self.n = Signal(WORD_BITS, name="n_left")
        self.n_all = Signal(WORD_BITS, name="n_all")
        self.k = Signal(k_bits, name="k_left")
        self.k_all = Signal(k_bits, name="k_all")
        self.k_last = Signal(name="k_last")
        self.group_last = Signal(name="group_last")
        self.run_last = Signal(name="run_last")
        self._features = config.slices_per_tile * config.lanes
        m.d.comb += [
            self.k_last.eq(self.k <= self._features),
            self.group_last.eq(self.n <= config.cols),
            self.run_last.eq(self.m <= config.group_tokens),
        ]

    def start(self, run) -> list:
        """Statements that take a run from the ports of `run`."""
        return [
            self.m.eq(run.run_m),
            *(left.eq(run.run_n) for left in (self.n, self.n_all)),
            *(left.eq(run.run_k) for left in (self.k, self.k_all)),
        ]

    def count(self, m: Module):
        """A tile's slices are done: on to the next ones, group of features, group of tokens."""
        m.d.sync += self.k.eq(self.k - self._features)
        with m.If(self.k_last):
            m.d.sync += [self.k.eq(self.k_all), self.n.eq(self.n - self.config.cols)]
            with m.If(self.group_last):
                m.d.sync += [self.n.eq(self.n_all), self.m.eq(self.m - self.config.group_tokens)]


def act_buffer(config: ArrayConfig) -> Ram:
    """The memory of a group's acts."""
    return Ram(width=config.acts_bits, depth=config.act_buffer_beats)


class Sequencer(wiring.Component):
    """The sequencer of an array.

    Members
    -------
    As in `ports`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__({name: flow(width) for name, (flow, width, _) in ports(config).items()})

    def elaborate(self, platform):
        config = self.config
        output = config.dataflow == Dataflow.OUTPUT_STATIONARY
        m = Module()

        left = Left(m, config)
        # Of the tile, where a beat is a token.
        token = Signal(range(config.buffer_tokens))
        token_last = Signal()
        tile_last = Signal()
        replay_last = Signal()
        tokens = Signal(range(config.group_tokens + 1))
        m.d.comb += [
            tokens.eq(Mux(left.run_last, left.m, config.group_tokens)),
            token_last.eq(1 if output else token + 1 == tokens),
            replay_last.eq(left.k_last & token_last),
            tile_last.eq(left.k_last if output else token_last),
        ]
        active = Signal()
        first_features = Signal()
        address = Signal(act_buffer(config).address_bits)

        # The stream's side: is there a beat for the first features in this cycle?
        ended = Signal()
        dropping = Signal()
        step = Signal()
        wanted = Signal()
        room = Signal()
        took = Signal()
        finished = Signal()
        m.d.comb += [
            wanted.eq(active & first_features & ~ended & ~dropping),
            room.eq(~self.acts_valid | self.acts_ready),
            took.eq(step & wanted),
            finished.eq(step & replay_last & left.group_last & left.run_last),
            step.eq(active & room & (~first_features | ended | (wanted & self.stream_valid))),
            self.stream_ready.eq(dropping | (wanted & room)),
            self.busy.eq(active | self.acts_valid),
        ]
        m.d.sync += [
            self.early_last.eq(took & self.stream_last & ~replay_last),
            self.late_last.eq(took & ~self.stream_last & replay_last),
        ]
        with m.If(dropping & self.stream_valid & self.stream_last):
            m.d.sync += dropping.eq(0)
        with m.If(took & self.stream_last & ~replay_last):
            m.d.sync += ended.eq(1)
        with m.If(took & ~self.stream_last & replay_last):
            m.d.sync += dropping.eq(1)

        # One step: to the next beat, tile, group of features, group of tokens, run.
        with m.If(step):
            m.d.sync += address.eq(address + 1)
            if not output:
                m.d.sync += token.eq(Mux(token_last, 0, token + 1))
            with m.If(token_last):
                left.count(m)
            with m.If(replay_last):
                m.d.sync += [address.eq(0), ended.eq(0), first_features.eq(left.group_last)]
        m.d.comb += self.run_ready.eq(~active | finished)
        with m.If(self.run_ready):
            m.d.sync += [active.eq(self.run_valid), first_features.eq(1), *left.start(self)]

        # The stage in front of the array.
        fresh = Signal()
        held = Signal(config.acts_bits, reset_less=True)
        replayed = Signal(config.acts_bits)
        incoming = Mux(ended, 0, self.stream_data)
        m.submodules.act_buffer = Instance(
            f"{self.prefix}_act_buffer",
            i_clk=ClockSignal(),
            i_write_enable=step & first_features,
            i_write_address=address,
            i_write_data=incoming,
            i_read_enable=step,
            i_read_address=address,
            o_read_data=replayed,
        )
        m.d.comb += self.acts_data.eq(Mux(fresh, held, replayed))
        with m.If(step):
            m.d.sync += [
                self.acts_valid.eq(1),
                fresh.eq(first_features),
                held.eq(incoming),
                self.acts_last.eq(tile_last),
                self.acts_run_last.eq(finished),
            ]
            if output:
                m.d.sync += [
                    self.acts_tokens.eq(tokens),
                    self.acts_pass_last.eq(replay_last & left.group_last),
                ]
            else:
                m.d.sync += [
                    self.acts_first_k.eq(left.k == left.k_all),
                    self.acts_last_k.eq(left.k_last),
                ]
        with m.Elif(self.acts_ready):
            m.d.sync += self.acts_valid.eq(0)
        return m


class Loads(wiring.Component):
    """Counts the slices of trits of a run into a weight-stationary array, pass by pass.

    Members
    -------
    As in `load_ports`.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {name: flow(width) for name, (flow, width, _) in load_ports(config).items()}
        )

    def elaborate(self, platform):
        config = self.config
        m = Module()
        left = Left(m, config)
        row = Signal(range(config.rows))
        row_last = Signal()
        finished = Signal()
        m.d.comb += [
            row_last.eq(row == config.rows - 1),
            self.last.eq(row_last & left.k_last & left.group_last),
            finished.eq(self.taken & self.last & left.run_last),
            self.run_ready.eq(~self.busy | finished),
        ]
        with m.If(self.taken):
            m.d.sync += row.eq(Mux(row_last, 0, row + 1))
            with m.If(row_last):
                left.count(m)
        with m.If(self.run_ready):
            m.d.sync += [self.busy.eq(self.run_valid), *left.start(self)]
        return m
