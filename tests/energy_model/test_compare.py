"""energy_model.compare.compare: the paper's scaling law, and pairs of one's own."""

import dataclasses

import pytest

from tritloom.arch.errors import InputError
from tritloom.energy_model.compare.compare import (
    FAILS,
    HOLDS,
    NOMINALLY,
    SCALING_LAW,
    Measure,
    compare,
)
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import load_costs
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.costs.units import JOULES
from tritloom.energy_model.machine.evaluation import Workload
from tritloom.energy_model.machine.file import load_machine

PAPER = load_costs("paper")
# Table 1 and figure 2 of arXiv 2402.17764, in gigabytes.
PUBLISHED_GB = {
    "13b:ternary": 5.34,
    "70b:ternary": 18.16,
    "3b:fp16": 7.89,
    "7b:fp16": 14.58,
    "13b:fp16": 27.31,
}


def pair(first, second, hardware="large", **workload):
    return compare(
        first,
        second,
        workload=Workload(**workload),
        machine=load_machine(hardware),
        costs=PAPER,
    )


def measures(comparison):
    return {measure.key: measure for measure in comparison.measures}


@pytest.mark.parametrize(("first", "second"), SCALING_LAW)
@pytest.mark.parametrize("hardware", ["large", "a100", "phone", "kv260"])
def test_the_scaling_law_holds_in_decode(hardware, first, second):
    found = measures(pair(first, second, hardware))
    for key in ("memory", "latency", "energy", "system_decode"):
        assert found[key].verdict == HOLDS, key


@pytest.mark.parametrize(("first", "second"), SCALING_LAW)
def test_the_scaling_law_fails_where_arithmetic_binds_a_gpu(first, second):
    # A prompt on tensor cores: several times the operations at half the energy each.
    assert measures(pair(first, second, "a100"))["system_prefill"].verdict == FAILS


def test_memory_is_as_far_apart_as_published():
    for first, second in SCALING_LAW:
        memory = measures(pair(first, second))["memory"]
        assert memory.ratio.nominal == pytest.approx(memory.second.nominal / memory.first.nominal)
        if first in PUBLISHED_GB:
            published = PUBLISHED_GB[second] / PUBLISHED_GB[first]
            assert memory.ratio.nominal == pytest.approx(published, rel=0.08)


def test_a_model_beside_itself_is_a_draw():
    for measure in measures(pair("7b:fp16", "7b:fp16")).values():
        assert (measure.ratio.low, measure.ratio.high) == pytest.approx((1, 1))
        assert measure.verdict == FAILS


def test_swapping_a_pair_inverts_its_ratios():
    one, other = measures(pair("7b:ternary", "3b:fp16")), measures(pair("3b:fp16", "7b:ternary"))
    for key, measure in one.items():
        assert measure.ratio.low == pytest.approx(1 / other[key].ratio.high)


@pytest.mark.parametrize(
    ("low", "nominal", "verdict"),
    [(1.1, 1.2, HOLDS), (0.9, 1.2, NOMINALLY), (0.9, 1.0, FAILS), (0.5, 0.9, FAILS)],
)
def test_the_verdict_reads_the_range(low, nominal, verdict):
    measure = Measure(
        key="x",
        label="x",
        unit=JOULES,
        first=Range.point(1),
        second=Range.point(1),
        ratio=Range(low=low, nominal=nominal, high=2),
        tier=Tier.DERIVED,
    )
    assert measure.verdict == verdict


@pytest.mark.parametrize("name", ["7b", "7b:int3", ":fp16", "7b:", "nope:fp16"])
def test_a_wrong_side_is_rejected(name):
    with pytest.raises(InputError, match=r"must be the name of a model|unknown model"):
        pair(name, "7b:fp16")


def test_costs_that_make_an_energy_zero_are_told():
    nothing = {
        action: dataclasses.replace(cost, low=0.0, nominal=0.0, high=0.0)
        for action, cost in PAPER.entries.items()
    }
    with pytest.raises(InputError, match="costs make it zero, so that there is no ratio"):
        compare(
            "3b:ternary",
            "3b:fp16",
            workload=Workload(),
            machine=load_machine("large"),
            costs=dataclasses.replace(PAPER, entries=nothing),
        )
