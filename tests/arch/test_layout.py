import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritloom.arch import layout
from tritloom.arch.config import ArrayConfig, preset
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import PACKINGS, TRIT2, TRIT5
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm

BOTH = pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)


def random_trits(slices, positions, seed=1):
    return np.random.default_rng(seed).integers(-1, 1, (slices, positions), endpoint=True)


def locate(slice_, position, positions, per_byte):
    """(beat, byte, digit) of a trit, written from the format's prose."""
    group, digit = divmod(slice_, per_byte)
    beat, byte = divmod(position, layout.beat_bytes(positions))
    return 4 * group + beat, byte, digit


def trit_of(byte, digit, packing):
    """One trit of a byte; tests/arch/test_ternary.py has the codes."""
    return packing.unpack([byte])[digit]


@pytest.mark.parametrize(
    ("positions", "wanted"), [(1, 1), (3, 1), (4, 1), (5, 2), (8, 2), (256, 64), (16384, 4096)]
)
def test_beat_has_a_quarter_of_the_positions_in_bytes(positions, wanted):
    assert layout.beat_bytes(positions) == wanted


@pytest.mark.parametrize("positions", [0, -1])
def test_a_pass_without_positions_is_rejected(positions):
    with pytest.raises(InputError, match=f"positions must be at least 1, not {positions}"):
        layout.pass_beats(5, positions, TRIT5)


@BOTH
@pytest.mark.parametrize("positions", [1, 2, 3, 4, 5, 6, 7, 8, 20])
@pytest.mark.parametrize("slices", [1, 3, 4, 5, 6, 10, 11, 20])
def test_every_trit_is_where_the_format_says(packing, positions, slices):
    trits = random_trits(slices, positions)
    beats = layout.pack_pass(trits, packing, positions=positions)
    assert beats.dtype == np.uint8
    assert beats.shape == (
        layout.pass_beats(slices, positions, packing),
        layout.beat_bytes(positions),
    )
    for s in range(-(-slices // packing.trits_per_byte) * packing.trits_per_byte):
        for p in range(positions):
            beat, byte, digit = locate(s, p, positions, packing.trits_per_byte)
            wanted = trits[s, p] if s < slices else 0
            assert trit_of(int(beats[beat, byte]), digit, packing) == wanted


@BOTH
@given(slices=st.integers(1, 23), positions=st.integers(1, 40), seed=st.integers(0, 1000))
def test_round_trip(packing, slices, positions, seed):
    trits = random_trits(slices, positions, seed)
    beats = layout.pack_pass(trits, packing, positions=positions)
    back = layout.unpack_pass(beats, packing, slices=slices, positions=positions)
    assert back.dtype == np.int8
    assert (back == trits).all()


@BOTH
def test_spare_bytes_are_ignored(packing):
    trits = random_trits(9, 5)
    beats = layout.pack_pass(trits, packing, positions=5)
    groups = beats.reshape(-1, 8)
    assert packing.legal[groups[:, 5:]].all()
    groups[:, 5:] = 0xAA  # illegal in both packings
    assert (layout.unpack_pass(beats, packing, slices=9, positions=5) == trits).all()
    groups[0, 4] = 0xAA
    with pytest.raises(InputError, match="byte 170 at index 4"):
        layout.unpack_pass(beats, packing, slices=9, positions=5)


@BOTH
def test_tiles_of_cols_and_lanes_pack_like_flat_slices(packing):
    trits = random_trits(6, 12)
    shaped = trits.reshape(2, 3, 4, 3)
    assert (
        layout.pack_pass(shaped, packing, positions=12)
        == layout.pack_pass(trits, packing, positions=12)
    ).all()


@pytest.mark.parametrize(
    ("trits", "positions", "message"),
    [
        ([[0, 1, 0]], 2, "3 trits are not slices of 2 positions"),
        (np.zeros((0, 2)), 2, "0 trits are not slices of 2 positions"),
        ([[0, 1]], 0, "2 trits are not slices of 0 positions"),
        ([[0, 2]], 2, "trits must be -1, 0 or \\+1, not 2"),
    ],
)
def test_what_is_no_pass_is_rejected(trits, positions, message):
    with pytest.raises(InputError, match=message):
        layout.pack_pass(trits, TRIT5, positions=positions)


def test_beats_of_another_shape_are_rejected():
    with pytest.raises(InputError, match=r"beats must have shape \(8, 2\), not \(4, 2\)"):
        layout.unpack_pass(np.zeros((4, 2), np.uint8), TRIT5, slices=6, positions=7)


@pytest.mark.parametrize("shape", [(2560, 6912), (6912, 2560), (4096, 11008), (11008, 4096)])
@pytest.mark.parametrize(("packing", "limit"), [(TRIT5, 1.62), (TRIT2, 2.02)])
def test_layers_of_bitnet_stream_close_to_the_packing_s_own_bits(shape, packing, limit):
    n, k = shape
    plan = OutputStationaryPlan(preset("base"), Gemm(1, k, n))
    useful, streamed = layout.bits_per_trit(plan, packing)
    assert packing.bits_per_trit <= streamed <= useful <= limit


@BOTH
@pytest.mark.parametrize("gemm", [Gemm(3, 11, 7), Gemm(1, 1, 1), Gemm(2, 20, 9)])
def test_bits_per_trit_count_the_bytes_that_a_pass_packs_to(packing, gemm):
    plan = OutputStationaryPlan(ArrayConfig(rows=2, cols=3, lanes=3), gemm)
    trits = np.zeros((plan.feature_groups * plan.slices, 9), np.int8)
    bits = 8 * layout.pack_pass(trits, packing, positions=9).size
    assert layout.bits_per_trit(plan, packing) == (bits / (gemm.k * gemm.n), bits / trits.size)


@pytest.mark.parametrize(
    ("packing", "slices", "cycles"),
    [(TRIT2, 8, 8), (TRIT2, 5, 8), (TRIT2, 1, 4), (TRIT5, 10, 10), (TRIT5, 9, 9), (TRIT5, 6, 9)],
)
def test_pass_takes_a_cycle_a_slice_unless_its_last_group_is_nearly_empty(packing, slices, cycles):
    assert layout.pass_cycles(slices, packing) == cycles
