"""arch.heap: what its adders give, against a plain dot product; its stages and polarities."""

import numpy as np
import pytest

from tritloom.arch import heap
from tritloom.arch.heap import schedule

SHAPES = [(1, 8, 16), (2, 8, 2), (2, 3, 5), (8, 5, 7), (16, 8, 16), (64, 8, 15), (64, 8, 1000)]


def evaluate(plan, lanes, act_bits, acts, trits):
    """Sums of a batch, shape (n, lanes), by the steps; each bit is the signal that carries it."""
    # Two's complement, by hand: the bits that a select of each lane gives.
    selected = np.where(trits > 0, acts, np.where(trits < 0, ~acts, 0))
    signals = {}
    for index, bit in enumerate(plan.bits):
        if bit.lane < 0:
            continue
        value = trits[:, bit.lane] < 0 if bit.index < 0 else selected[:, bit.lane] >> bit.index & 1
        # The sign bit's complement is what counts, and the signal is the sign bit.
        signals[index] = ~value & 1 if bit.index < 0 else value & 1
    for step in plan.steps:
        inputs = [signals[index] for index in step.inputs]
        if step.kind in ("register", "inverter"):
            signals[step.outputs[0]] = 1 - inputs[0]
            continue
        if step.kind == "half":
            inputs.append(np.full(len(acts), plan.bits[step.inputs[0]].inverted, int))
        total = sum(inputs)
        for index, value in zip(step.outputs, (total & 1, total >> 1), strict=False):
            signals[index] = 1 - value
    sums = 0
    for column, index in enumerate(plan.total):
        true = signals[index] ^ plan.bits[index].inverted
        sums += true << column
    return sums


@pytest.mark.parametrize(("lanes", "act_bits", "units"), SHAPES)
def test_adders_give_the_dot_product(lanes, act_bits, units):
    rng = np.random.default_rng(lanes)
    low, high = -(1 << act_bits - 1), (1 << act_bits - 1) - 1
    acts = rng.integers(low, high, (400, lanes), endpoint=True)
    trits = rng.integers(-1, 1, (400, lanes), endpoint=True)
    acts[:8], trits[:8:2], trits[1:8:2] = low, -1, 1
    acts[4:8] = high
    plan = schedule(lanes, act_bits, units)
    sums = evaluate(plan, lanes, act_bits, acts, trits)
    # The complement of the top bit takes the sign bits' constants off; lane 0's one is left out.
    width = act_bits + (lanes - 1).bit_length()
    found = sums ^ 1 << width - 1
    found = np.where(found >> width - 1, found - (1 << width), found) + (trits[:, 0] < 0)
    assert (found == (acts * trits).sum(axis=1)).all()


@pytest.mark.parametrize(("lanes", "act_bits", "units"), SHAPES)
def test_nothing_is_later_than_its_stage_allows(lanes, act_bits, units):
    plan = schedule(lanes, act_bits, units)
    for step in plan.steps:
        for index in step.outputs:
            made = plan.bits[index]
            causes = [plan.bits[cause] for cause in step.inputs]
            if step.kind == "register":
                assert (made.stage, made.time) == (causes[0].stage + 1, 0)
                continue
            assert {cause.stage for cause in causes} == {made.stage}
            assert made.time <= units
            if step.kind != "inverter":
                weight = made.column - causes[0].column
                took = heap.CARRY if weight else heap.SUM
                assert made.time == max(cause.time for cause in causes) + took
    assert {plan.bits[index].stage for index in plan.total} == {plan.stages}


@pytest.mark.parametrize(("lanes", "act_bits", "units"), SHAPES)
def test_adders_take_one_polarity_and_every_bit_is_used_once(lanes, act_bits, units):
    plan = schedule(lanes, act_bits, units)
    used = [index for step in plan.steps for index in step.inputs] + list(plan.total)
    assert sorted(used) == list(range(len(plan.bits)))
    for step in plan.steps:
        polarities = {plan.bits[index].inverted for index in step.inputs}
        assert len(polarities) == 1
        assert all(plan.bits[index].inverted not in polarities for index in step.outputs)


@pytest.mark.parametrize("lanes", [16, 64, 256])
def test_adders_are_as_few_as_the_bits_allow(lanes):
    plan = schedule(lanes, 8, 1000)
    # A full adder takes one bit away, in the top column two; a half adder none.
    bits_in, bits_out = 9 * lanes - 1, 8 + (lanes - 1).bit_length()
    assert plan.count("full") - (bits_in - bits_out) <= 1
    assert plan.count("half") == 0
    assert plan.count("inverter") <= lanes / 4


@pytest.mark.parametrize(("lanes", "act_bits", "units"), SHAPES)
def test_bits_say_what_they_are_and_weigh_what_adders_make_of_them(lanes, act_bits, units):
    plan = schedule(lanes, act_bits, units)
    inputs = [bit for bit in plan.bits if bit.lane != -1]
    # Every bit of every lane at its weight, and a one for each negation but the first lane's.
    assert sorted((bit.lane, bit.index, bit.column) for bit in inputs) == sorted(
        [(lane, i, i) for lane in range(lanes) for i in range(act_bits)]
        + [(lane, -1, 0) for lane in range(1, lanes)]
    )
    assert all((bit.stage, bit.time) == (0, 0) for bit in inputs)
    made = {index for step in plan.steps for index in step.outputs}
    assert {i for i, bit in enumerate(plan.bits) if bit.lane == -1} == made
    for step in plan.steps:
        (column,) = {plan.bits[index].column for index in step.inputs}
        columns = [plan.bits[index].column for index in step.outputs]
        assert columns == [column, column + 1][: len(columns)]
    assert [plan.bits[index].column for index in plan.total] == list(range(len(plan.total)))
