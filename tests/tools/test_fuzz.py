"""Readers of model files on damaged ones: what `make fuzz` runs for longer."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools import fuzz_readers

READERS = list(fuzz_readers.FILES)


@pytest.fixture(scope="module")
def seeds(bitnet_class):
    return fuzz_readers.seeds(bitnet_class)


@pytest.mark.parametrize("reader", READERS)
def test_every_seed_is_sound(reader, seeds, tmp_path):
    assert [fuzz_readers.run(reader, case, tmp_path) for case in seeds[reader]] == [True] * len(
        seeds[reader]
    )


@pytest.mark.parametrize("reader", READERS)
def test_damaged_model_is_read_or_refused_in_one_line(reader, seeds, tmp_path_factory):
    folder = tmp_path_factory.mktemp(reader)
    outcomes = set()

    @settings(max_examples=150, database=None)
    @given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 4))
    def holds(seed, changes):
        rng = random.Random(seed)
        case = rng.choice(seeds[reader])
        for _ in range(changes):
            case = fuzz_readers.mutated(reader, case, rng)
        outcomes.add(fuzz_readers.run(reader, case, folder))

    holds()
    # Neither so mild that all is sound, nor so wild that nothing gets past the first check.
    assert outcomes == {True, False}


def test_fuzzers_target_lets_no_other_error_pass(seeds, tmp_path, monkeypatch):
    def fails(path):
        raise KeyError(path)

    monkeypatch.setattr("tritloom.sim.checkpoints.read.open_checkpoint", fails)
    with pytest.raises(KeyError):
        fuzz_readers.run("npy", seeds["npy"][0], tmp_path)
