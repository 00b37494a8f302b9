"""arch.dataflows: the comparison and the page that shows it."""

import dataclasses
from pathlib import Path

import pytest

from tritloom.arch.config import Dataflow
from tritloom.arch.dataflows import ARRAY, LAYERS, TOKENS, cost, table, winner
from tritloom.arch.tiling import make_plan
from tritloom.arch.timing import gemm_cycles
from tritloom.arch.workload import Gemm

PAGE = Path(__file__).parents[2] / "docs" / "dataflows.md"


def costs(m, k, n, **changes):
    config = ARRAY.replace(**changes)
    return {d: cost(config.replace(dataflow=d), Gemm(m, k, n)) for d in Dataflow}


def test_page_holds_the_table_that_the_formulas_give():
    assert f"\n\n{table(ARRAY)}\n\n" in PAGE.read_text()


def test_table_has_a_line_for_every_layer_tokens_and_dataflow():
    lines = table(ARRAY).splitlines()[2:]
    assert len(lines) == len(LAYERS) * len(TOKENS) * len(Dataflow)
    wins = [line.split("|")[-2].strip() for line in lines]
    # One winner of each pair.
    assert all(bool(a) != bool(b) for a, b in zip(wins[::2], wins[1::2], strict=True))


@pytest.mark.parametrize("dataflow", Dataflow)
def test_cycles_are_those_of_arch_timing(dataflow):
    config, gemm = ARRAY.replace(dataflow=dataflow), Gemm(8, 2560, 6912)
    line = next(
        line
        for line in table(ARRAY).splitlines()
        if line.startswith("| 2560 x 6912 | 8 |") and f"| {dataflow} |" in line
    )
    assert f"| {gemm_cycles(make_plan(config, gemm)):,} |" in line


@pytest.mark.parametrize(("k", "n"), LAYERS)
@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (1, (Dataflow.OUTPUT_STATIONARY, "memory on chip")),
        (16, (Dataflow.OUTPUT_STATIONARY, "memory on chip")),
        (17, (Dataflow.WEIGHT_STATIONARY, "cycles")),
        (32, (Dataflow.WEIGHT_STATIONARY, "weight traffic")),
        (512, (Dataflow.WEIGHT_STATIONARY, "weight traffic")),
    ],
)
def test_up_to_rows_tokens_outputs_stay_and_beyond_weights_do(k, n, m, expected):
    assert winner(costs(m, k, n)) == expected


@pytest.mark.parametrize("m", [1, 512])
def test_ragged_slices_leave_rows_of_a_weight_stationary_array_idle(m):
    # 1040 features are 65 slices of 16 lanes: 65 beats of a tile of outputs, 5 tiles of 16 slices.
    ragged = costs(m, 1040, 6912)
    assert winner(ragged) == (Dataflow.OUTPUT_STATIONARY, "cycles")
    stationary, output = ragged[Dataflow.WEIGHT_STATIONARY], ragged[Dataflow.OUTPUT_STATIONARY]
    assert stationary.cycles / output.cycles == pytest.approx(80 / 65, rel=0.01)


def test_very_few_input_features_are_for_stationary_weights_because_outputs_must_drain():
    # 20 features are 2 slices: 2 beats of a tile of outputs, whose psum must leave before the next
    # ends, 36 cycles later; a tile of stationary weights loads in 16.
    few = costs(1, 20, 6912)
    assert winner(few) == (Dataflow.WEIGHT_STATIONARY, "cycles")
    stationary, output = few[Dataflow.WEIGHT_STATIONARY], few[Dataflow.OUTPUT_STATIONARY]
    assert stationary.cycles / output.cycles == pytest.approx(16 / 36, rel=0.01)
    assert stationary.weight_bytes == pytest.approx(8 * output.weight_bytes, abs=1)


def test_equal_costs_leave_the_default():
    same = costs(1, 272, 6912)[Dataflow.WEIGHT_STATIONARY]
    assert winner(dict.fromkeys(Dataflow, same)) == (Dataflow.OUTPUT_STATIONARY, "nothing")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("cycles", "cycles"),
        ("weight_bytes", "weight traffic"),
        ("held_bytes", "memory on chip"),
    ],
)
@pytest.mark.parametrize("scale", [1, 1000])
def test_a_hundredth_more_is_a_draw_and_a_little_more_than_that_is_not(what, reason, scale):
    same = costs(1, 272, 6912)[Dataflow.WEIGHT_STATIONARY]

    def against(value):
        pair = (dataclasses.replace(same, **{what: v * scale}) for v in (value, 1000))
        return winner(dict(zip(Dataflow, pair, strict=True)))

    assert against(1010) == against(990.1) == (Dataflow.OUTPUT_STATIONARY, "nothing")
    assert against(1011) == (Dataflow.WEIGHT_STATIONARY, reason)
    assert against(989) == (Dataflow.OUTPUT_STATIONARY, reason)


def test_weights_cross_once_for_each_buffer_of_tokens():
    once, twice = (
        costs(m, 2560, 6912)[Dataflow.WEIGHT_STATIONARY].weight_bytes for m in (512, 513)
    )
    assert twice == 2 * once
