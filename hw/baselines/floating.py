"""IEEE 754 arithmetic of the floating-point baselines: combinational, complete, rounded once.

Subnormals, signed zeros, infinities and NaNs are as in the standard; rounding is to nearest, ties
to even. A NaN comes out as the quiet one whose fraction is 10..0, with either sign. There are no
exception flags.

What others are compared with should be good itself. So an adder subtracts the smaller magnitude,
and either rounds the sum or normalises it, side by side; a multiplier has one shifter for
normalising and denormalising, zeros of subnormal operands are counted while the product is made;
special cases join at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data


@dataclass(frozen=True, kw_only=True)
class Format:
    """A binary interchange format.

    Attributes
    ----------
    exponent_bits, fraction_bits : int
    """

    exponent_bits: int
    fraction_bits: int

    @property
    def width(self) -> int:
        """Bits of a number."""
        return self.layout.size

    @property
    def bias(self) -> int:
        """The field of exponent 0."""
        return (1 << self.exponent_bits - 1) - 1

    @property
    def layout(self) -> data.StructLayout:
        """A number's fields."""
        return data.StructLayout(
            {"fraction": self.fraction_bits, "exponent": self.exponent_bits, "sign": 1}
        )


FP16 = Format(exponent_bits=5, fraction_bits=10)
FP32 = Format(exponent_bits=8, fraction_bits=23)


@dataclass(frozen=True, kw_only=True)
class _Number:
    """A number taken apart.

    Attributes
    ----------
    sign, magnitude : Value
        All bits of it.
    exponent, significand : Value
        A subnormal has the exponent of the smallest normal number, and no leading 1.
    normal, zero, special, nan : Value
        What it is; special is infinite or NaN, and normal as well.
    """

    sign: Value
    magnitude: Value
    exponent: Value
    significand: Value
    normal: Value
    zero: Value
    special: Value
    nan: Value


def _unpack(m, form, bits, name):
    fields = Signal(form.layout, name=name)
    normal = Signal(name=f"{name}_normal")
    special = Signal(name=f"{name}_special")
    fractional = Signal(name=f"{name}_fractional")
    m.d.comb += [
        fields.eq(bits),
        normal.eq(fields.exponent.any()),
        special.eq(fields.exponent.all()),
        fractional.eq(fields.fraction.any()),
    ]
    return _Number(
        sign=fields.sign,
        magnitude=Cat(fields.fraction, fields.exponent),
        exponent=Cat(fields.exponent[0] | ~normal, fields.exponent[1:]),
        significand=Cat(fields.fraction, normal),
        normal=normal,
        zero=~normal & ~fractional,
        special=special,
        nan=special & fractional,
    )


def _pack(*, sign, exponent, fraction, infinite, nan):
    """The number's bits; `infinite` is set for a NaN too, and overrides exponent and fraction."""
    bits = len(fraction)
    return Cat(
        Mux(infinite, Cat(Const(0, bits - 1), nan), fraction),
        Mux(infinite, ~Const(0, len(exponent)), exponent),
        sign,
    )


def _rounds_up(*, odd, half, rest):
    """Whether to round away from 0, given the last bit kept, the next one, and any other."""
    return half & (odd | rest)


def _leading_zeros(value):
    """Zeros above the first 1 of a value; any number where it is 0."""
    if len(value) == 1:
        return Const(0, 0)
    half = 1 << (len(value) - 1).bit_length() - 1
    high, low = value[-half:], value[:-half]
    none = ~high.any()
    return Cat(Mux(none, _leading_zeros(low), _leading_zeros(high)), none)


def _shift_right(m, value, amount, *, width):
    """(`width` bits of value >> amount, whether a 1 was shifted out); bits above are 0."""
    lost = []
    for place in reversed(range(len(amount))):
        step = 1 << place
        # Bits above are beyond what later steps bring down.
        shifted = Signal(min(len(value), width + step - 1), name=f"shifted_{step}")
        m.d.comb += shifted.eq(Mux(amount[place], value[step:], value))
        lost.append(amount[place] & value[:step].any())
        value = shifted
    return value, Cat(lost).any()


def multiply(m: Module, a: Value, b: Value) -> Value:
    """The product of two FP16 numbers, rounded to FP16."""
    bits, places = FP16.fraction_bits, FP16.exponent_bits
    x, y = _unpack(m, FP16, a, "a"), _unpack(m, FP16, b, "b")
    product = Signal(2 * bits + 2)
    exponents = Signal(places + 1)
    wanted = Signal(places)
    excess = Signal(signed(places + 2))
    left = Signal(places)
    # The product of two subnormals is below half the least number, so either may count.
    zeros = _leading_zeros(Mux(x.normal, y.significand, x.significand))
    tiny = excess[-1]
    m.d.comb += [
        product.eq(x.significand * y.significand),
        exponents.eq(x.exponent + y.exponent),
        # To the left by `zeros` the product is normal, with a field of 1 + `excess`, and by less
        # where that is below 1. Either is larger by bias + 1 here, a power of two, for free.
        wanted.eq(Cat(zeros, Const(1, 1))),
        excess.eq(exponents - wanted),
        left.eq(Mux(tiny, exponents, wanted)),
    ]
    # The product may have to go either way: from further left it goes right by the complement.
    further = Cat(Const(0, FP16.bias + 1 - bits), product)
    shifted, lost = _shift_right(m, further, ~left, width=bits + 3)
    # The product of significands of 1 and more is 1 and more, or 2 and more.
    two, one = shifted[-1], shifted[-2]
    fraction = Mux(two, shifted[2:-1], shifted[1:-2])
    up = _rounds_up(
        odd=fraction[0], half=Mux(two, shifted[1], shifted[0]), rest=lost | two & shifted[0]
    )
    base = Signal(places)
    rounded = Signal(places + bits)
    m.d.comb += [
        base.eq(Mux(tiny | x.zero | y.zero, 0, excess)),
        rounded.eq(Cat(fraction, base) + Cat(up, Const(0, bits - 1), one & ~two, two)),
    ]
    # What rounds up to 2**(bias + 1) becomes infinite by itself.
    largest = (1 << places) - 3
    over = ~tiny & ((excess > largest) | (excess == largest) & two)
    return _pack(
        sign=x.sign ^ y.sign,
        exponent=rounded[bits:],
        fraction=rounded[:bits],
        infinite=x.special | y.special | over,
        nan=_product_is_nan(x, y),
    )


def multiply_exactly(m: Module, a: Value, b: Value) -> Value:
    """The product of two FP16 numbers as FP32, which is exact.

    Two significands of 11 bits make one of at most 22, and FP32 has 24. The least product but 0 is
    2**-24 squared and the largest below 2**16 squared, and FP32 has normal numbers from 2**-126 to
    2**128: nothing is rounded, subnormal, or too large.
    """
    x, y = _unpack(m, FP16, a, "a"), _unpack(m, FP16, b, "b")
    product = Signal(2 * FP16.fraction_bits + 2)
    zeros = Signal(len(product).bit_length())
    normal = Signal.like(product)
    exponent = Signal(FP32.exponent_bits)
    m.d.comb += [
        product.eq(x.significand * y.significand),
        zeros.eq(_leading_zeros(product)),
        normal.eq(product << zeros),
        # The first bit of the product is for 2 and more.
        exponent.eq(x.exponent + y.exponent + (FP32.bias - 2 * FP16.bias + 1) - zeros),
    ]
    return _pack(
        sign=x.sign ^ y.sign,
        exponent=Mux(x.zero | y.zero, 0, exponent),
        fraction=Cat(Const(0, FP32.fraction_bits + 1 - len(normal)), normal[:-1]),
        infinite=x.special | y.special,
        nan=_product_is_nan(x, y),
    )


def _product_is_nan(x, y):
    return x.nan | y.nan | x.special & y.zero | y.special & x.zero


def add(m: Module, form: Format, a: Value, b: Value) -> Value:
    """The sum of two numbers of a format, rounded to it."""
    bits, places = form.fraction_bits, form.exponent_bits
    x, y = _unpack(m, form, a, "a"), _unpack(m, form, b, "b")
    subtract = Signal()
    swap = Signal()
    large = Signal(bits + 1)
    small = Signal(bits + 1)
    exponent = Signal(places)
    distance = Signal(places)
    m.d.comb += [
        subtract.eq(x.sign ^ y.sign),
        swap.eq(x.magnitude < y.magnitude),
        large.eq(Mux(swap, y.significand, x.significand)),
        small.eq(Mux(swap, x.significand, y.significand)),
        exponent.eq(Mux(swap, y.exponent, x.exponent)),
        # Two subtractors, rather than one that waits for the comparison.
        distance.eq(Mux(swap, y.exponent - x.exponent, x.exponent - y.exponent)),
    ]
    # Rounding needs two more bits of the smaller number, and whether there is a 1 below them.
    steps = (bits + 3).bit_length()
    near, lost = _shift_right(m, Cat(Const(0, 2), small), distance[:steps], width=bits + 3)
    far = distance[steps:].any()
    # A 0 that is far counts as some small number; the sum is the larger number all the same.
    aligned = Cat(lost | far, Mux(far, 0, near))
    total = Signal(bits + 5)
    # Ones below both make the carry that a subtraction wants.
    minuend = Cat(Const(1, 1), Const(0, 3), large, Const(0, 1))
    addend = Cat(subtract, Mux(subtract, ~aligned, aligned), subtract)
    m.d.comb += total.eq((minuend + addend)[1:])

    # With a leading 1 in one of three places, the sum is rounded there while zeros are counted.
    two, one, half = total[-1], total[-2], total[-3]
    window = Mux(two, total[2:-1], Mux(one, total[1:-2], total[:-3]))
    rest = window[0] | two & total[:2].any() | one & total[0]
    up = _rounds_up(odd=window[2], half=window[1], rest=rest)
    rounded = Signal(places + bits)
    base = Signal(places)
    m.d.comb += [
        base.eq(exponent - 1),
        rounded.eq(Cat(window[2:], base) + Cat(up, Const(0, bits - 1), one & ~two, two)),
    ]
    # Other sums are exact, as the operands were one place apart at most. They go to the left until
    # there is a leading 1, or a mark where the exponent is the least: where it is so from the
    # start, a 1 in the third place does not lead.
    rounds = two | one | half & (exponent != 1)
    exact = Cat(total[2:-2], Const(0, 1))
    mark = Cat(exponent == len(exact) - place for place in range(len(exact)))
    stop = Signal(len(exact))
    left = Signal((len(exact) - 1).bit_length())
    normal = Signal(len(exact))
    m.d.comb += [
        stop.eq(exact | mark),
        left.eq(_leading_zeros(stop)),
        normal.eq(exact << left),
    ]
    field = Mux(normal[-1], (exponent - left)[:places], 0)
    magnitude = Mux(rounds, rounded, Cat(normal[1:-1], field))
    nothing = subtract & (x.magnitude == y.magnitude)
    # What rounds up to 2**(bias + 1) becomes infinite by itself.
    over = (exponent == (1 << places) - 2) & two
    return _pack(
        sign=Mux(swap, y.sign, x.sign) & ~nothing,
        exponent=magnitude[bits:],
        fraction=magnitude[:bits],
        infinite=x.special | y.special | over,
        nan=x.nan | y.nan | x.special & y.special & subtract,
    )
