"""The floating-point functions against NumPy's, on random bits and at every border; and faults."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from amaranth.hdl import Const, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.hw.baselines import floating
from tritloom.hw.baselines.floating import FP16, FP32, Format
from tritloom.sim.bench.combinational import compile_function

CHUNK = 1 << 18
BITS = {FP16: np.uint16, FP32: np.uint32}
FLOATS = {FP16: np.float16, FP32: np.float32}


@dataclass(frozen=True)
class Function:
    gateware: Callable
    # NumPy computes FP16 in FP32 and rounds once more, which is right: a product is exact in
    # between, and 24 bits are twice 11 and 2, with which a sum is as if rounded once.
    operation: np.ufunc
    operands: Format
    result: Format


FUNCTIONS = {
    "multiply": Function(floating.multiply, np.multiply, FP16, FP16),
    "multiply exactly": Function(floating.multiply_exactly, np.multiply, FP16, FP32),
    "add FP16": Function(partial(floating.add, form=FP16), np.add, FP16, FP16),
    "add FP32": Function(partial(floating.add, form=FP32), np.add, FP32, FP32),
}


class Dut(wiring.Component):
    def __init__(self, function):
        self.function = function
        width = function.operands.width
        super().__init__({"a": In(width), "b": In(width), "result": Out(function.result.width)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.result.eq(self.function.gateware(m, a=self.a, b=self.b))
        return m


def specials(form):
    """All pairs of zeros, infinities, NaNs, and numbers around 1 and at borders."""
    least, top = 1 << form.fraction_bits, 1 << form.width - 1
    one, infinite = form.bias * least, top - least
    magnitudes = [0, 1, 2, least - 1, least, least + 1, 2 * least, one - 1, one, one + 1]
    magnitudes += [infinite - 1, infinite, infinite + 1, infinite + least // 2, top - 1]
    values = np.array([sign + each for sign in (0, top) for each in magnitudes], np.uint32)
    return np.repeat(values, len(values)), np.tile(values, len(values))


def uniform(form, count, rng):
    return tuple(rng.integers(0, 1 << form.width, (2, count), dtype=np.uint32))


def compose(form, sign, exponent, fraction):
    exponent = np.clip(exponent, 0, (1 << form.exponent_bits) - 1)
    return (sign << form.width - 1 | exponent << form.fraction_bits | fraction).astype(np.uint32)


def fractions(form, count, rng):
    """Random above, and below a random place all zeros or all ones."""
    bits = form.fraction_bits
    low = (1 << rng.integers(0, bits + 1, count)) - 1
    fraction = rng.integers(0, 1 << bits, count)
    return np.where(rng.integers(0, 2, count), fraction | low, fraction & ~low)


def near_sums(form, count, rng):
    """Operands that overlap, a third each of the smallest and the largest; half nearly cancel."""
    anywhere, edge = rng.integers(0, 1 << form.exponent_bits, count), rng.integers(0, 3, count)
    exponent = np.choose(rng.integers(0, 3, count), [anywhere, edge, 2 * form.bias - edge])
    reach = form.fraction_bits + 4
    a, b = (
        compose(form, rng.integers(0, 2, count), each, fractions(form, count, rng))
        for each in (exponent, exponent + rng.integers(-reach, reach + 1, count))
    )
    half = count // 2
    opposite = a[:half].astype(np.int64) ^ 1 << form.width - 1
    b[:half] = opposite + rng.integers(-3, 4, half) & (1 << form.width) - 1
    return a, b


def near_products(form, count, rng):
    """Operands whose product is about as small, or as large, as numbers are."""
    wanted = np.where(
        rng.integers(0, 2, count),
        rng.integers(-form.fraction_bits - 4, 4, count),
        2 * form.bias + rng.integers(-2, 4, count),
    )
    exponent = rng.integers(0, (1 << form.exponent_bits) - 1, count)
    others = wanted + form.bias - exponent
    return tuple(
        compose(form, rng.integers(0, 2, count), each, fractions(form, count, rng))
        for each in (exponent, others)
    )


def operands(function, count, rng):
    """All pairs of specials, and of the rest a half at borders and a half anywhere."""
    form = function.operands
    near = near_sums if function.operation is np.add else near_products
    parts = [specials(form)]
    rest = count - len(parts[0][0])
    parts += [near(form, rest // 2, rng), uniform(form, rest - rest // 2, rng)]
    return tuple(np.concatenate(side) for side in zip(*parts, strict=True))


def numbers(form, bits):
    return bits.astype(BITS[form]).view(FLOATS[form])


def wanted(function, a, b):
    """NumPy's result."""
    with np.errstate(all="ignore"):
        a, b = (numbers(function.operands, each).astype(FLOATS[function.result]) for each in (a, b))
        return function.operation(a, b)


def differ(form, seen, result):
    """Where bits are not those of the result, or for a NaN not those of the quiet one."""
    magnitude = seen & (1 << form.width - 1) - 1
    quiet = (1 << form.width - 1) - (1 << form.fraction_bits - 1)
    return np.where(np.isnan(result), magnitude != quiet, seen != result.view(BITS[form]))


def misses(name, pairs, folder):
    """Operands and the RTL's result, the first few for which it is not NumPy's."""
    function, rng = FUNCTIONS[name], np.random.default_rng(0)
    compiled, found = compile_function(Dut(function), folder), []
    for start in range(0, pairs, CHUNK):
        a, b = operands(function, min(CHUNK, pairs - start), rng)
        seen = compiled(a, b)
        wrong = np.flatnonzero(differ(function.result, seen, wanted(function, a, b)))
        found += [tuple(hex(each[i]) for each in (a, b, seen)) for i in wrong[:5]]
    return found


@pytest.mark.parametrize("pairs", [200_000, pytest.param(10_000_000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_bit_is_numpy_s(name, pairs, folder):
    assert misses(name, pairs, folder) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operands_reach_every_border(name):
    function = FUNCTIONS[name]
    a, b = operands(function, 100_000, np.random.default_rng(0))
    result = wanted(function, a, b)
    with np.errstate(all="ignore"):
        wide = [numbers(function.operands, each).astype(np.float64) for each in (a, b)]
        exact = function.operation(*wide)
        spacing = np.spacing(np.abs(result)).astype(np.float64)
        info = np.finfo(result.dtype)
        finite = np.isfinite(wide).all(axis=0)
        # In a sum that is not exact either, the smaller operand is no half.
        half = 2 * np.abs(exact - result) == spacing
    reached = {
        "overflows": finite & np.isinf(result),
        "largest": np.abs(result) == info.max,
        "smallest normal": np.abs(result) == info.smallest_normal,
        "subnormal": (result != 0) & (np.abs(result) < info.smallest_normal),
        "smallest": np.abs(result) == info.smallest_subnormal,
        "nothing": (result == 0) & (wide[0] != 0),
        "half": finite & np.isfinite(result) & half,
        "NaN": np.isnan(result),
    }
    # What an exact product in the wider format cannot be.
    impossible = {"overflows", "largest", "smallest normal", "subnormal", "smallest", "half"}
    expected = reached.keys() - (impossible if function.operands != function.result else set())
    assert {kind for kind in reached if reached[kind].sum() >= 20} >= expected


def _without_rest(real):
    return lambda *arguments, **options: (real(*arguments, **options)[0], Const(0, 1))


def _half_up(real):
    return lambda *, odd, half, rest: half


def _flushed_operands(real):
    def unpack(m, form, bits, name):
        number = real(m, form, bits, name)
        significand = Mux(number.normal, number.significand, 0)
        return replace(number, significand=significand, zero=~number.normal)

    return unpack


def _flushed_results(real):
    return lambda *, exponent, fraction, **others: real(
        exponent=exponent, fraction=Mux(exponent.any(), fraction, 0), **others
    )


def _infinite_nan(real):
    return lambda *, nan, **others: real(nan=Const(0, 1), **others)


def _no_negative_zero(real):
    return lambda *, sign, exponent, fraction, **others: real(
        sign=sign & (exponent.any() | fraction.any()),
        exponent=exponent,
        fraction=fraction,
        **others,
    )


# The function's part that is spoilt, how, and where that shows.
FAULTS = {
    "lost ones are forgotten": ("_shift_right", _without_rest, ["add FP32", "multiply"]),
    "halves round up": ("_rounds_up", _half_up, ["add FP16", "multiply"]),
    "subnormal operands are 0": ("_unpack", _flushed_operands, ["add FP32", "multiply exactly"]),
    "subnormal results are 0": ("_pack", _flushed_results, ["add FP16", "multiply"]),
    "NaN is infinite": ("_pack", _infinite_nan, ["multiply exactly", "add FP32"]),
    "zero has no sign": ("_pack", _no_negative_zero, ["multiply exactly", "add FP16"]),
}


@pytest.mark.parametrize(
    ("fault", "name"), [(fault, name) for fault, (*_, names) in FAULTS.items() for name in names]
)
def test_numpy_catches_a_fault(fault, name, folder, monkeypatch):
    part, spoil, _ = FAULTS[fault]
    monkeypatch.setattr(floating, part, spoil(getattr(floating, part)))
    assert misses(name, 20_000, folder)
