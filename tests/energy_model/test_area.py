"""energy_model.machine.area: arrays of every format and dataflow, added up by hand."""

import pytest

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.energy_model.machine.area import array_area

# Square microns at 45 nm, of data/area.yaml; an adder of w bits is on the line from 8 to 32.
SELECT, BIT, MUL_INT8, MUL_FP16, ADD_FP16 = 18, 5.98, 282, 1640, 1360


def adder(bits):
    return 36 + (bits - 8) * (137 - 36) / 24


# 2 x 3 PEs of 2 lanes: 12 lanes, 6 trees of one addition, 12 lanes of acts in hops; 256 acts of 8
# bits need psums of 17. Logic, bits of registers, and bits of buffers.
SHAPE = {"rows": 2, "cols": 3, "lanes": 2, "max_k": 256, "buffer_tokens": 5}
ACTS = 2 * 3 * 2
OUTPUT = {
    # Acts, trits, and of each PE an accumulator and a drain register; acts of two tokens.
    "ternary": (
        12 * SELECT + 6 * adder(9) + 6 * adder(17),
        ACTS * 8 + 12 * 2 + 2 * 6 * 17,
        2 * 256 * 8,
    ),
    "int8": (
        12 * MUL_INT8 + 6 * adder(17) + 6 * adder(32),
        ACTS * 8 + 12 * 8 + 2 * 6 * 32,
        2 * 256 * 8,
    ),
    "fp16": (12 * MUL_FP16 + 12 * ADD_FP16, ACTS * 16 + 12 * 16 + 2 * 6 * 16, 2 * 256 * 16),
}
WEIGHT = {
    # Trits twice, a psum in each PE, three more adders at the output buffer; acts of five tokens,
    # and their psums.
    "ternary": (
        12 * SELECT + 6 * adder(9) + 9 * adder(17),
        ACTS * 8 + 2 * 12 * 2 + 6 * 17,
        5 * 256 * 8 + 5 * 3 * 17,
    ),
    "int8": (
        12 * MUL_INT8 + 6 * adder(17) + 9 * adder(32),
        ACTS * 8 + 2 * 12 * 8 + 6 * 32,
        5 * 256 * 8 + 5 * 3 * 32,
    ),
    "fp16": (
        12 * MUL_FP16 + 15 * ADD_FP16,
        ACTS * 16 + 2 * 12 * 16 + 6 * 16,
        5 * 256 * 16 + 5 * 3 * 16,
    ),
}


@pytest.mark.parametrize("formats", ["ternary", "int8", "fp16", "ternary int8", "int8 fp16"])
@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
def test_area_is_that_of_the_parts_of_each_format_and_of_shared_buffers(dataflow, formats):
    config, formats = ArrayConfig(**SHAPE, dataflow=dataflow), frozenset(formats.split())
    parts = [(OUTPUT if dataflow == "output-stationary" else WEIGHT)[name] for name in formats]
    um2 = sum(logic + BIT * bits for logic, bits, _ in parts)
    # The widest act and the widest psum.
    act_bits, tokens = 16 if "fp16" in formats else 8, 2 if dataflow == "output-stationary" else 5
    psum_bits = 32 if "int8" in formats else 16 if "fp16" in formats else 17
    buffer_bits = tokens * 256 * act_bits
    if dataflow == "weight-stationary":
        buffer_bits += 5 * 3 * psum_bits
    if len(formats) == 1:
        assert buffer_bits == parts[0][2]
    area = array_area(config, 1e6, formats)
    held_mb = 1 + buffer_bits / 8e6
    assert area.low == pytest.approx(um2 * 1e-6 * 0.024 + held_mb / 1.8, rel=1e-12)
    assert area.high == pytest.approx(um2 * 1e-6 * 0.1 + held_mb / 0.75, rel=1e-12)
    dense = (1.8 * 0.75) ** 0.5
    assert area.nominal == pytest.approx(um2 * 1e-6 * 0.059 + held_mb / dense, rel=1e-12)


@pytest.mark.parametrize("dataflow", Dataflow)
def test_an_array_whose_max_k_is_below_a_tile_has_an_area(dataflow):
    config = ArrayConfig(rows=2, cols=3, lanes=8, max_k=8, dataflow=dataflow, buffer_tokens=1)
    whole = array_area(config.replace(max_k=16), 0, frozenset(["ternary"]))
    # A psum has a bit less; nothing else shrinks but the act buffer, which has a beat at least.
    assert array_area(config.replace(max_k=3), 0, frozenset(["ternary"])).nominal > 0
    assert array_area(config, 0, frozenset(["ternary"])).nominal < whole.nominal
    int8 = frozenset(["int8"])
    below, above = (array_area(config.replace(max_k=k), 0, int8) for k in (1, 8))
    # An int8 array accumulates in 32 bits whatever max_k is.
    assert below == above
