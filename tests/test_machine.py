"""energy_model.machine: time of a layer from cycles and from bytes."""

import pytest

from arch.errors import InputError
from arch.workload import Gemm, Layer
from energy_model.machine import Dram, Machine, load_dram, parse_array
from energy_model.tiers import Tier

SQUARE = Machine(name="square", array=parse_array("64x64x16/4"), dram=load_dram())


def layer(m, k, n, *, weight="ternary", count=1, stationary=True):
    act = "int8" if weight == "ternary" else "fp16"
    return Layer(
        name="x", gemm=Gemm(m, k, n), count=count, weight=weight, act=act, stationary=stationary
    )


def test_dram_is_the_published_a100_memory():
    dram = load_dram()
    assert dram.bytes_per_s == 2.039e12
    assert dram.tier == Tier.PUBLISHED
    assert dram.source


def test_an_unknown_dram_is_rejected():
    with pytest.raises(InputError, match="unknown DRAM 'tape'; known: hbm2e_a100"):
        load_dram("tape")


def test_a_dram_without_bandwidth_is_rejected():
    with pytest.raises(InputError, match="bytes_per_s of slow must be above 0, not 0"):
        Dram(name="slow", title="Slow", bytes_per_s=0, source="here", tier=Tier.INFERRED)


def test_decode_layer_takes_the_cycles_counted_by_hand():
    # 8192 / 16 = 512 beats for each of 8192 / 64 = 128 tiles; the last psum beat leaves 83 later.
    time = SQUARE.run(layer(1, 8192, 8192, count=80))
    assert time.cycles == 80 * (128 * 512 + 83)
    assert time.compute_s == pytest.approx(time.cycles / 500e6)
    # Weights at 2 bits, acts at 8, psums at 24.
    assert time.dram_bytes == 80 * (8192 * 8192 / 4 + 8192 + 3 * 8192)
    assert time.dram_s == pytest.approx(time.dram_bytes / 2.039e12)
    assert time.bound == "compute"
    assert time.latency_s == time.compute_s


def test_fp16_layer_takes_the_same_cycles_and_eight_times_the_weight_bytes():
    ternary = SQUARE.run(layer(1, 8192, 8192))
    fp16 = SQUARE.run(layer(1, 8192, 8192, weight="fp16"))
    assert fp16.cycles == ternary.cycles
    assert fp16.dram_bytes == 2 * 8192 * 8192 + 2 * 8192 + 2 * 8192


def test_an_array_as_fast_as_its_dram_makes_decode_eight_times_faster():
    machine = Machine(name="wide", array=parse_array("4x1024x16/64"), dram=load_dram())
    ternary = machine.run(layer(1, 8192, 8192))
    fp16 = machine.run(layer(1, 8192, 8192, weight="fp16"))
    assert fp16.bound == "dram"
    assert fp16.latency_s / ternary.latency_s == pytest.approx(8, rel=0.02)


def test_weight_bandwidth_of_the_array():
    assert SQUARE.weight_bytes_per_s("ternary") == 64 * 16 / 4 * 500e6
    assert SQUARE.weight_bytes_per_s("fp16") == 64 * 16 * 2 * 500e6


def test_run_time_operands_are_not_padded():
    stored = SQUARE.run(layer(1, 100, 10, weight="fp16"))
    made = SQUARE.run(layer(1, 100, 10, weight="fp16", stationary=False))
    assert stored.dram_bytes - made.dram_bytes == 2 * (112 * 64 - 100 * 10)


def test_context_longer_than_a_psum_allows_still_fits_the_fp16_array():
    assert SQUARE.run(layer(1, 1 << 20, 128, weight="fp16", stationary=False)).cycles > 1 << 16


@pytest.mark.parametrize(
    ("name", "shape", "hops"), [("base", "16x16x16", 16), ("4x1024x16/64", "4x1024x16", 16)]
)
def test_array_is_a_preset_or_a_shape(name, shape, hops):
    array = parse_array(name)
    assert (array.shape, array.hops) == (shape, hops)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "huge",
            "unknown hardware 'huge'; known: tiny, decode, base, large, ecp5, ecp5_full, or "
            "ROWSxCOLSxLANES",
        ),
        ("4x4", "unknown hardware '4x4'"),
        ("4x4x", "unknown hardware '4x4x'"),
        ("4x4x-1", "unknown hardware '4x4x-1'"),
        ("4x4x4/x", "unknown hardware '4x4x4/x'"),
        ("0x4x4", "rows must be at least 1, not 0"),
        ("4x4x4/3", "cols_per_hop must divide cols = 4, which 3 does not"),
        ("4x4x4/0", "cols_per_hop must be at least 1, not 0"),
    ],
)
def test_a_wrong_array_is_rejected(name, message):
    with pytest.raises(InputError, match=message):
        parse_array(name)
