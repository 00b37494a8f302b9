"""Trits: their hardware code and the two packings of the weight stream.

A trit is one weight in {-1, 0, +1}. In hardware it is an unsigned 2-bit code: bit 0 says
"non-zero", bit 1 "negative", which equals two's complement. Code 10 is illegal.

Packings, little end first:

- trit2: four codes in a byte, 2 bits a trit. A byte with any code 10 is illegal.
- trit5: five trits in a byte, base 3 with digit = trit + 1, so 1.6 bits a trit. Bytes 243..255
  are illegal.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """A byte layout of the weight stream.

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
    table: np.ndarray
    legal: np.ndarray

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
        if self.name == "trit2":
            weights, digits = 4 ** np.arange(4), groups & 0b11
        else:
            weights, digits = 3 ** np.arange(5), groups + 1
        return (digits.astype(np.uint16) @ weights.astype(np.uint16)).astype(np.uint8)

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


def _trit2() -> Packing:
    codes = np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 0b11
    legal = (codes != ILLEGAL).all(axis=1)
    return Packing("trit2", 4, np.where(legal[:, None], _CODE_TO_TRIT[codes], 0), legal)


def _trit5() -> Packing:
    digits = np.arange(256)[:, None] // 3 ** np.arange(5) % 3
    legal = np.arange(256) < 243
    return Packing("trit5", 5, np.where(legal[:, None], digits - 1, 0).astype(np.int8), legal)


TRIT2 = _trit2()
TRIT5 = _trit5()
PACKINGS = {p.name: p for p in (TRIT2, TRIT5)}
