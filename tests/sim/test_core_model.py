"""The cycle models by themselves: psums against plain products, the core's time against formulas.

Co-simulation holds the models to the RTL on every port of every cycle.
"""

import dataclasses

import numpy as np
import pytest

from tritloom.arch import layout, streams, timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import WeightStationaryPlan, make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.golden.core import CoreInputs, CoreModel
from tritloom.sim.golden.output_stationary import OutputStationaryInputs, OutputStationaryModel
from tritloom.sim.golden.unpacker import UnpackerInputs, UnpackerModel
from tritloom.sim.golden.weight_stationary import WeightStationaryInputs, WeightStationaryModel

SMALL = ArrayConfig(rows=2, cols=3, lanes=4, max_k=128, buffer_tokens=5)
STATIONARY = {"dataflow": "weight-stationary"}
CONFIGS = [
    SMALL,
    SMALL.replace(rows=3, cols=4, lanes=5, cols_per_hop=2, levels_per_stage=1),
    SMALL.replace(rows=1, cols=1, lanes=1, act_bits=4),
    SMALL.replace(**STATIONARY),
    SMALL.replace(rows=4, cols=4, lanes=5, cols_per_hop=2, buffer_tokens=2, **STATIONARY),
    SMALL.replace(rows=1, cols=1, lanes=1, buffer_tokens=1, **STATIONARY),
]


@dataclasses.dataclass
class Run:
    """A descriptor and its operands."""

    plan: object
    packing: object
    acts: np.ndarray
    trits: np.ndarray

    def act_beats(self):
        """Acts as they come from outside: once for each group of tokens."""
        beats, plan = streams.slice_acts(self.plan, self.acts), self.plan
        if not isinstance(plan, WeightStationaryPlan):
            return [beat for group in beats for beat in group]
        size = plan.config.buffer_tokens
        return [
            beats[k_group, token]
            for start in range(0, plan.gemm.m, size)
            for k_group in range(len(beats))
            for token in range(start, min(start + size, plan.gemm.m))
        ]

    def weight_beats(self):
        """(bytes, whether they end a pass): all trits for each group of tokens."""
        config = self.plan.config
        packed = layout.pack_pass(
            streams.slice_trits(self.plan, self.trits),
            self.packing,
            positions=config.cols * config.lanes,
        )
        groups = -(-self.plan.gemm.m // config.group_tokens)
        return [
            (beat, i == len(packed) - 1) for _ in range(groups) for i, beat in enumerate(packed)
        ]


def draw(config, rng, count):
    """Runs of ragged sizes; the first is as small as can be."""
    longest = min(config.max_k, 5 * config.slices_per_tile * config.lanes)
    most = (2 * config.group_tokens + 1, longest, 3 * config.cols)
    for i in range(count):
        m, k, n = (1, 1, 1) if i == 0 else (int(rng.integers(1, side + 1)) for side in most)
        limit = 1 << config.act_bits - 1
        yield Run(
            make_plan(config, Gemm(m, k, n)),
            list(PACKINGS.values())[int(rng.integers(2))],
            rng.integers(-limit, limit, (m, k)),
            rng.integers(-1, 2, (n, k)),
        )


def simulate(config, runs, share, rng):
    """Rows of psums as they leave, and cycles from the first beat of weights to the last row.

    All descriptors are there from the first cycle on; each side is willing in `share` of them.
    """
    model = CoreModel(config)
    for run in runs:
        model.push(run.plan, run.packing, 0)
    acts = [beat for run in runs for beat in run.act_beats()]
    weights = [beat for run in runs for beat in run.weight_beats()]
    rows, first, cycle = [], None, 0
    wanted = sum(run.plan.gemm.m * run.plan.feature_groups for run in runs)
    while len(rows) < wanted:
        assert cycle < 20_000, "still running"
        act, weight, ready = rng.random(3) < share
        beat, last = weights[0] if weights and weight else (None, False)
        out = model.step(
            CoreInputs(
                acts_last=False,
                acts=acts[0] if acts and act else None,
                weights=beat,
                weights_last=last,
                psums_ready=bool(ready),
            )
        )
        if out.acts_ready and acts and act:
            acts.pop(0)
        if out.weights_ready and beat is not None:
            weights.pop(0)
            first = cycle if first is None else first
        if out.psums is not None and ready:
            rows.append(out.psums)
        cycle += 1
    assert not acts
    assert not weights
    return rows, cycle - first


@pytest.mark.parametrize("share", [1, 0.6], ids=["steady", "stalled"])
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.dataflow.split('-')[0]}-{c.shape}")
def test_runs_give_the_products_in_the_time_that_the_formula_says(config, seed, share):
    rng = np.random.default_rng(seed)
    runs = list(draw(config, rng, 1 + seed))
    rows, cycles = simulate(config, runs, share, rng)
    for run in runs:
        count = run.plan.gemm.m * run.plan.feature_groups
        psums, rows = streams.join_psums(run.plan, np.array(rows[:count])), rows[count:]
        assert (psums == run.acts @ run.trits.T).all()
    wanted = timing.queue_cycles([(run.plan, run.packing) for run in runs])
    assert cycles == wanted if share == 1 else cycles >= wanted
    if share == 1 and len(runs) == 1:
        assert timing.core_cycles(runs[0].plan, runs[0].packing) == wanted


ONE = {"acts": np.array([[3]]), "trits": np.array([[1]])}


def test_an_array_s_beat_ends_no_tile_unless_it_says_so_and_then_one_of_one_token():
    model = OutputStationaryModel(ArrayConfig(rows=1, cols=1, lanes=1))
    beat = {**ONE, "acts_valid": True, "trits_valid": True}
    for _ in range(9):
        out = model.step(OutputStationaryInputs(**beat))
        assert out.acts_ready
        assert not out.psums_valid
    model.step(OutputStationaryInputs(**beat, acts_last=True))
    found = [model.step(OutputStationaryInputs(**ONE)) for _ in range(9)]
    # Ten beats of 3; taken in the cycle that offers them. Three registers on the way.
    assert [(out.psums_valid, out.psums_last) for out in found[:4]] == [
        (False, False),
        (False, False),
        (True, True),
        (False, False),
    ]
    assert found[2].psums.tolist() == [30]
    assert not any(out.psums_valid for out in found[3:])


def test_each_hop_shows_its_psums_a_cycle_after_its_western_neighbour():
    model = OutputStationaryModel(ArrayConfig(rows=1, cols=6, lanes=1, cols_per_hop=2))
    ports = {"acts": np.array([[5]]), "trits": np.ones((6, 1), int)}
    model.step(OutputStationaryInputs(**ports, acts_valid=True, acts_last=True, trits_valid=True))
    shown = [model.step(OutputStationaryInputs(**ports)) for _ in range(8)]
    first = next(i for i, out in enumerate(shown) if out.psums.any())
    assert [out.psums.tolist() for out in shown[first : first + 4]] == [
        [5, 5, 0, 0, 0, 0],
        [5, 5, 5, 5, 0, 0],
        [5] * 6,
        [5] * 6,
    ]
    assert [i for i, out in enumerate(shown) if out.psums_valid] == [first + 2]


def test_a_stationary_array_s_beat_is_neither_first_nor_last_unless_it_says_so():
    model = WeightStationaryModel(
        ArrayConfig(rows=1, cols=1, lanes=1, dataflow="weight-stationary")
    )
    outs = [model.step(WeightStationaryInputs(**ONE, trits_valid=True))]
    beat = {**ONE, "acts_valid": True, "acts_first_k": True}
    outs += [model.step(WeightStationaryInputs(**beat)) for _ in range(3)]
    outs += [model.step(WeightStationaryInputs(**ONE)) for _ in range(9)]
    assert not any(out.psums_valid or out.psums_last for out in outs)
    outs = [model.step(WeightStationaryInputs(**beat, acts_last_k=True)) for _ in range(3)]
    outs += [model.step(WeightStationaryInputs(**ONE)) for _ in range(9)]
    assert [out.psums.tolist() for out in outs if out.psums_valid] == [[3]] * 3
    assert not any(out.psums_last for out in outs)


def test_an_unpacker_reads_trit2_and_counts_on_unless_it_is_told_otherwise():
    model = UnpackerModel(1)

    def step(byte=None, **rest):
        weights, valid = np.array([byte or 0], np.uint8), byte is not None
        return model.step(UnpackerInputs(weights=weights, weights_valid=valid, **rest))

    # +1, -1, 0, +1, the first at the little end; the three other bytes of a group are spare, and
    # may be illegal.
    outs = [step(byte) for byte in (0b01_00_11_01, 0b10, 0b10, 0b10)]
    assert all(out.weights_ready for out in outs)
    outs += [step() for _ in range(2)]
    assert [out.trits.tolist() for out in outs[4:]] == [[0b01]] * 2
    assert not any(out.illegal_beat is not None for out in outs)
    outs = [step(trits_ready=True) for _ in range(5)]
    assert [out.trits.tolist() for out in outs[:4]] == [[0b01], [0b11], [0b00], [0b01]]
    assert outs[4].trits is None
    assert not any(out.early_last or out.late_last for out in outs)
    # An illegal code in the fifth beat is told two cycles later.
    assert [step(byte).illegal_beat for byte in (0b10, 0, 0)] == [None, None, 4]


def test_cycles_of_an_array_are_told_apart_by_what_they_wait_for():
    model = OutputStationaryModel(ArrayConfig(rows=2, cols=1, lanes=1))
    acts = {"acts": np.array([[1], [2]]), "acts_tokens": 2, "acts_last": True}
    trits, both = {"trits": np.array([[1]])}, {"acts_valid": True, "trits_valid": True}

    def told(**rest):
        perf = model.step(OutputStationaryInputs(**acts, **trits, **rest)).perf
        return [name for name, counts in perf.items() if counts]

    assert told() == []
    assert told(acts_valid=True) == ["wait_trits"]
    assert told(trits_valid=True) == ["wait_acts"]
    assert told(**both) == ["beats"]
    # The next tile of one beat waits for this one's psums: on their way for four cycles, then
    # held for three, then taken in two.
    assert [told(**both, psums_ready=False) for _ in range(6)] == (
        [["wait_drain"]] * 3 + [["blocked"]] * 3
    )
    assert [told(**both) for _ in range(3)] == [["wait_drain"]] * 2 + [["beats"]]


def test_cycles_of_a_stationary_array_are_told_apart_by_what_they_wait_for():
    config = ArrayConfig(rows=2, cols=1, lanes=1, dataflow="weight-stationary")
    model = WeightStationaryModel(config)
    ports = {"acts": np.array([[1], [2]]), "trits": np.array([[1]])}
    ends = {"acts_last": True, "acts_first_k": True, "acts_last_k": True}

    def told(**rest):
        perf = model.step(WeightStationaryInputs(**ports, **ends, **rest)).perf
        return sorted(name for name, counts in perf.items() if counts)

    assert told() == []
    # Acts wait for their tile's trits: to come, and to be loaded, a cycle each of two rows.
    assert told(acts_valid=True) == ["wait_trits"]
    assert told(acts_valid=True, trits_valid=True) == ["loads", "wait_load"]
    assert told(trits_valid=True) == ["loads"]
    assert told(trits_valid=True) == ["wait_acts"]
    # The swap takes the tile, and its cycle loads the next one's first slice.
    assert told(acts_valid=True, trits_valid=True) == ["beats", "loads"]
    found = [told(psums_ready=False) for _ in range(9)]
    assert found[-1] == ["blocked"]
    assert set(map(tuple, found)) == {(), ("blocked",)}


@pytest.mark.parametrize("model", [OutputStationaryModel, WeightStationaryModel])
def test_one_illegal_code_is_told_until_a_reset(model):
    dataflow = "output-stationary" if model is OutputStationaryModel else "weight-stationary"
    config = ArrayConfig(rows=1, cols=2, lanes=2, dataflow=dataflow)
    golden = model(config)
    legal, illegal = np.array([[0, 1], [3, 0]]), np.array([[0, 1], [2, 0]])

    def step(trits, **rest):
        acts = np.ones((1, 2), int)
        ports = {"acts_valid": True, "trits_valid": True}
        if model is WeightStationaryModel:
            ports |= {"acts_last": True, "acts_first_k": True}
        return golden.step(model.inputs(acts=acts, trits=trits, **ports | rest)).illegal

    assert not any(step(legal) for _ in range(3))
    # What is not taken is not seen; what is taken is seen a cycle later.
    assert not any(step(illegal, trits_valid=False) for _ in range(2))
    golden.step(model.inputs(acts=np.ones((1, 2), int), trits=legal, rst=True))
    assert [step(illegal), step(legal), step(legal, rst=True), step(legal)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("beats", "slices", "flag"),
    [
        # Groups of four beats and of four slices: 5 to 8 slices are two of them.
        *((8, slices, None) for slices in (5, 6, 8)),
        *((4, slices, None) for slices in (1, 4)),
        (4, 5, "early_last"),
        (4, 9, "early_last"),
        (6, 5, "early_last"),
        (8, 4, "late_last"),
        (8, 1, "late_last"),
        (12, 8, "late_last"),
    ],
)
def test_a_stream_that_ends_too_soon_gives_zeros_and_one_too_late_is_dropped(beats, slices, flag):
    model = UnpackerModel(1)

    def passed(beats, slices):
        """Slices taken of one pass, and the flags of its cycles and of three more."""
        sent, taken, flags = 0, [], []
        for cycle in range(60):
            more = sent < beats
            out = model.step(
                UnpackerInputs(
                    # Four times +1.
                    weights=np.array([0b01010101], np.uint8),
                    weights_valid=more,
                    weights_last=sent == beats - 1,
                    trits_ready=len(taken) < slices,
                    trits_last=len(taken) == slices - 1,
                    start=cycle == 0,
                )
            )
            sent += more and out.weights_ready
            if out.trits is not None and len(taken) < slices:
                taken.append(int(out.trits[0]))
            flags += [name for name in ("early_last", "late_last") if getattr(out, name)]
        assert sent == beats
        return taken, flags

    for _ in range(2):
        taken, flags = passed(beats, slices)
        # The first beat of a group holds all that its one position has.
        assert taken == ([1] * 4 * -(-beats // 4) + [0] * slices)[:slices]
        assert flags == ([flag] if flag else [])
        # The pass that follows is none the worse.
        assert passed(4, 3) == ([1, 1, 1], [])


@pytest.mark.parametrize("trit5", [False, True])
@pytest.mark.parametrize("positions", [1, 3, 5, 8, 9])
def test_an_illegal_byte_is_told_with_its_beat_unless_it_is_spare(positions, trit5):
    width = -(-positions // 4)
    for place in range(4 * width):
        model, group = UnpackerModel(positions), np.zeros(4 * width, np.uint8)
        # Of every packing: 0xAA is all codes 10, and no trit5; a zero byte of trit5 is legal too.
        group[place] = 0xAA
        told = []
        for beat in (*group.reshape(4, width), *np.zeros((2, width), np.uint8)):
            inputs = UnpackerInputs(weights=beat, weights_valid=True, trit5=trit5)
            told.append(model.step(inputs).illegal_beat)
        beat = place // width
        wanted = [beat if place < positions and i == beat + 2 else None for i in range(6)]
        assert told == wanted
