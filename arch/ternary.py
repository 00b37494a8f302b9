"""Trits: their hardware code and the packings of weights.

A trit is one weight in {-1, 0, +1}. In hardware it is an unsigned 2-bit code: bit 0 says
"non-zero", bit 1 "negative", which equals two's complement. Code 10 is illegal.

Packings, t0 the first trit of a byte:

- trit2: four codes in a byte, t0 in bits 1..0, so 2 bits a trit. A byte with any code 10 is
  illegal.
- trit5: five trits in a byte, 1.6 bits a trit, coded for a small decoder.
- base3: five trits in a byte, the sum of (t_i + 1) 3^i. Bytes 243..255 are illegal. The usual
  format elsewhere; the weight stream does not know it.

In a byte of trit5, t0 is its code. The pairs (t1, t2) and (t3, t4) have a field of two bits and a
single bit each. In a pair (x, y) with y not zero, the field is the code of x, and the bit says that
y is negative. With y zero, the field is 10, and the bit says that x is negative. A pair of zeros
fits nowhere: there, bits 1..0 are 10, and the pair's bits hold what they crowd out.

================  ========  ========  ========  ========  ====
bits              7..6      5         4         3..2      1..0
================  ========  ========  ========  ========  ====
no pair of zeros  (t3, t4)  (t1, t2)  (t3, t4)  (t1, t2)  t0
t3 = t4 = 0       t0        (t1, t2)  1         (t1, t2)  10
t1 = t2 = 0       (t3, t4)  (t3, t4)  0         t0        10
all four zero     t0        0         0         10        10
================  ========  ========  ========  ========  ====

The other 13 bytes are illegal. Five zero trits are byte 0x0A.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np

from .errors import InputError

ZERO = 0b00
POS = 0b01
NEG = 0b11
ILLEGAL = 0b10

_CODE_TO_TRIT = np.array([0, 1, 2, -1], np.int8)  # 2 marks the illegal code


def check_trits(trits) -> np.ndarray:
    """Return `trits` as int8; raise `InputError` naming the first value outside {-1, 0, +1}."""
    array = np.asarray(trits)
    wrong = (array != -1) & (array != 0) & (array != 1)
    if wrong.any():
        raise InputError(f"trits must be -1, 0 or +1, not {array[wrong].flat[0]}")
    return array.astype(np.int8)


def to_codes(trits) -> np.ndarray:
    """Hardware codes (uint8, same shape) of trits."""
    return (check_trits(trits) & 0b11).astype(np.uint8)


def from_codes(codes) -> np.ndarray:
    """Trits (int8, same shape) of hardware codes.

    An illegal code raises `InputError` that names its value and flat index.
    """
    codes = np.asarray(codes)
    wrong = np.flatnonzero((codes != ZERO) & (codes != POS) & (codes != NEG))
    if wrong.size:
        value = codes.flat[wrong[0]]
        raise InputError(f"trit code must be 0, 1 or 3, not {value} at index {wrong[0]}")
    return _CODE_TO_TRIT[codes.astype(np.uint8)]


@dataclass(frozen=True)
class Packing:
    """A layout of trits in a byte.

    Attributes
    ----------
    name : str
    trits_per_byte : int
    table : ndarray of int8, shape (256, trits_per_byte)
        The trits of every byte; rows of illegal bytes are zero.
    legal : ndarray of bool, shape (256,)
    """

    name: str
    trits_per_byte: int
    # Hundreds of numbers would drown the signatures that have a packing for a default.
    table: np.ndarray = field(repr=False)
    legal: np.ndarray = field(repr=False)

    @cached_property
    def _bytes(self):
        """The byte (uint8) of every group of trits, by the group's value in base 3."""
        found = np.empty(3**self.trits_per_byte, np.uint8)
        found[_base3(self.table[self.legal])] = np.flatnonzero(self.legal)
        return found

    @property
    def bits_per_trit(self) -> float:
        """Bits of stream per trit, padding apart."""
        return 8 / self.trits_per_byte

    def packed_bytes(self, trits: int) -> int:
        """Bytes that hold so many trits, the last byte padded with zero trits."""
        return -(-trits // self.trits_per_byte)

    def pack(self, trits) -> np.ndarray:
        """Bytes of a trit array packed along its last axis, each row padded with zero trits.

        Parameters
        ----------
        trits : array_like, shape (..., k), values -1, 0, +1

        Returns
        -------
        ndarray of uint8, shape (..., packed_bytes(k))
        """
        trits = check_trits(trits)
        k = trits.shape[-1]
        count = self.packed_bytes(k)
        padded = np.zeros((*trits.shape[:-1], count * self.trits_per_byte), np.int8)
        padded[..., :k] = trits
        groups = padded.reshape(*trits.shape[:-1], count, self.trits_per_byte)
        return self._bytes[_base3(groups)]

    def unpack(self, packed, k: int | None = None) -> np.ndarray:
        """Trits (int8, shape (..., k)) of bytes packed along the last axis.

        Without `k`, every trit of every byte is returned. An illegal byte raises `InputError`
        that names its value and flat index.
        """
        values = np.asarray(packed)
        with np.errstate(invalid="ignore"):
            packed = values.astype(np.uint8)
        wrong = np.flatnonzero((packed != values) | ~self.legal[packed])
        if wrong.size:
            value = values.flat[wrong[0]]
            raise InputError(f"byte {value} at index {wrong[0]} is not a legal {self.name} code")
        total = packed.shape[-1] * self.trits_per_byte
        if k is not None and not 0 <= k <= total:
            raise InputError(f"k must be between 0 and {total} for this {self.name} data, not {k}")
        trits = self.table[packed].reshape(*packed.shape[:-1], total)
        return trits[..., :k]


def _packing(name, trits_per_byte, encode) -> Packing:
    """The packing where `encode` says the byte of every group of trits."""
    table, legal = np.zeros((256, trits_per_byte), np.int8), np.zeros(256, bool)
    for trits in product((-1, 0, 1), repeat=trits_per_byte):
        byte = encode(*trits)
        table[byte], legal[byte] = trits, True
    return Packing(name, trits_per_byte, table, legal)


def _trit2_byte(*trits):
    return sum((trit & 0b11) << 2 * index for index, trit in enumerate(trits))


def _pair(x, y):
    """Field and single bit of a pair that is not both zero."""
    return (x & 0b11, y < 0) if y else (ILLEGAL, x < 0)


def _trit5_byte(t0, t1, t2, t3, t4):
    first = t0 & 0b11
    low, low_bit = _pair(t1, t2)
    high, high_bit = _pair(t3, t4)
    if (t1 or t2) and (t3 or t4):
        fields = high, low_bit, high_bit, low, first
    elif t1 or t2:
        fields = first, low_bit, 1, low, ILLEGAL
    elif t3 or t4:
        fields = high, high_bit, 0, first, ILLEGAL
    else:
        fields = first, 0, 0, ILLEGAL, ILLEGAL
    return sum(field << shift for field, shift in zip(fields, (6, 5, 4, 2, 0), strict=True))


def _base3(trits):
    """Values (uint8) of up to five trits along the last axis, the digits trit + 1."""
    weights = 3 ** np.arange(np.shape(trits)[-1], dtype=np.uint8)
    return (np.asarray(trits) + 1).astype(np.uint8) @ weights


TRIT2 = _packing("trit2", 4, _trit2_byte)
TRIT5 = _packing("trit5", 5, _trit5_byte)
BASE3 = _packing("base3", 5, lambda *trits: _base3(trits))
# Packings that the weight stream knows.
PACKINGS = {p.name: p for p in (TRIT2, TRIT5)}
