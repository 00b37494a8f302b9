"""GGUF files: their metadata and tensors, ternary blocks among them, of files that may be damaged.

The `gguf` package dequantises. It does not know I2_S, bitnet.cpp's type 36, which is read here, as
the trits and scales of its own ternary types are.

I2_S is read as bitnet.cpp writes it on x86: the file does not say that it was packed for ARM, or
by a build with another block size, and then its trits come out in a wrong order.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import gguf
import numpy as np

from tritloom.arch.errors import InputError
from tritloom.sim.golden.quantise import Quantised

from .gguf_header import GgufHeader, TensorEntry
from .tensors import CHUNK_BYTES, DTYPES

_I2_S = 36
# Elements and bytes of a block; the scale of an I2_S tensor follows its last block.
_I2_S_BLOCK = (128, 32)
_I2_S_TAIL = 32
TERNARY = ("TQ1_0", "TQ2_0", "I2_S")
INTEGERS = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
_MOST_DIMENSIONS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class GgufTensor:
    """One tensor of a GGUF file.

    Attributes
    ----------
    name : str
    kind : str
        GGML's name of the tensor's type.
    shape : tuple of int
        As NumPy has it: the last dimension is contiguous.
    data : ndarray of uint8, shape (bytes,)
        Mapped from the file, so not read before it is used.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    data: np.ndarray

    @property
    def dtype(self) -> str:
        """Dtype of the numbers: a key of `DTYPES`, F32 where blocks are to be dequantised."""
        return self.kind if self.kind in DTYPES else "F32"

    def numbers(self) -> np.ndarray:
        """All numbers of the tensor, of its own dtype or dequantised to float32.

        Raises
        ------
        NotImplementedError
            No method is known for its type.
        """
        plain = DTYPES.get(self.kind, INTEGERS.get(self.kind))
        if plain is not None:
            return self.data.view(plain).reshape(self.shape)
        if self.kind == "I2_S":
            trits = self.trits()
            return trits.values * trits.scale
        rows = self.data.reshape(*self.shape[:-1], -1)
        # Damaged scales make what they may; whoever takes the numbers looks at them.
        with np.errstate(all="ignore"):
            return gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[self.kind])

    def chunks(self) -> Iterator[np.ndarray]:
        """All numbers of the tensor in several arrays of whole rows; in one array for I2_S."""
        if self.kind == "I2_S":
            yield self.numbers()
            return
        rows = math.prod(self.shape[:-1])
        step = max(1, CHUNK_BYTES // (4 * self.shape[-1]))
        size = self.data.size // rows
        for first in range(0, rows, step):
            count = min(step, rows - first)
            data = self.data[first * size : (first + count) * size]
            shape = (count, self.shape[-1])
            yield GgufTensor(name=self.name, kind=self.kind, shape=shape, data=data).numbers()

    def trits(self) -> Quantised:
        """Trits of a tensor of a type in `TERNARY`, and the scale that multiplies them.

        Raises
        ------
        InputError
            A code is illegal, the scale is not finite, or blocks have several scales: then no
            scale stands for the matrix. A block of scale 0 stands for zeros.

        Notes
        -----
        Source: `ggml-quants.c` of llama.cpp; `ggml-bitnet-mad.cpp` of bitnet.cpp for I2_S.
        """
        if self.kind == "I2_S":
            (scale,) = self.data[-_I2_S_TAIL:][:4].view("<f4")
            elements, size = _I2_S_BLOCK
            blocks, scales = self.data[:-_I2_S_TAIL].reshape(-1, size), None
        else:
            kind = gguf.GGMLQuantizationType[self.kind]
            elements, size = gguf.GGML_QUANT_SIZES[kind]
            blocks = self.data.reshape(-1, size)
            scales = np.ascontiguousarray(blocks[:, -2:]).view("<f2").ravel()
            blocks = blocks[:, :-2]
            scale = self._one_scale(scales)
        if not np.isfinite(scale):
            raise InputError(f"tensor {self.name} has the scale {scale}, which is not finite")
        values = np.empty((len(blocks), elements), np.int8)
        step = CHUNK_BYTES // (4 * elements)
        for first in range(0, len(blocks), step):
            some = slice(first, first + step)
            values[some] = _DECODERS[self.kind](blocks[some])
        if (values > 1).any():
            flat = np.flatnonzero(values > 1)[0]
            raise InputError(f"tensor {self.name} has the illegal trit code 3 at element {flat:,}")
        if scales is not None:
            values[scales == 0] = 0
        return Quantised(values=values.reshape(self.shape), scale=np.asarray(np.float32(scale)))

    def _one_scale(self, scales: np.ndarray) -> np.float16:
        used = np.flatnonzero(scales != 0)
        if not used.size:
            return np.float16(0)
        other = np.flatnonzero((scales != scales[used[0]]) & (scales != 0))
        if other.size and np.isfinite(scales[used[0]]):
            raise InputError(
                f"tensor {self.name} has blocks of the scales {scales[used[0]]} and "
                f"{scales[other[0]]}, but a matrix can have only one"
            )
        return scales[used[0]]


def _decode_tq1_0(blocks: np.ndarray) -> np.ndarray:
    trits = _TQ1_0_TRITS[blocks]
    parts = (trits[:, :32], trits[:, 32:48], trits[:, 48:, :4])
    return np.concatenate([p.swapaxes(1, 2).reshape(len(blocks), -1) for p in parts], axis=1)


def _decode_tq2_0(blocks: np.ndarray) -> np.ndarray:
    codes = (blocks.reshape(-1, 2, 1, 32) >> np.array([[0], [2], [4], [6]], np.uint8)) & 3
    return codes.reshape(len(blocks), -1).astype(np.int8) - np.int8(1)


def _decode_i2_s(blocks: np.ndarray) -> np.ndarray:
    codes = (blocks[:, None] >> np.array([[6], [4], [2], [0]], np.uint8)) & 3
    return codes.reshape(len(blocks), -1).astype(np.int8) - np.int8(1)


# Trits of every byte: the leading digits in base 3 of byte / 256, so that none is illegal.
_TQ1_0_TRITS = np.array(
    [[((byte * 3**n & 255) * 3 >> 8) - 1 for n in range(5)] for byte in range(256)], np.int8
)
_DECODERS = {"TQ1_0": _decode_tq1_0, "TQ2_0": _decode_tq2_0, "I2_S": _decode_i2_s}


class GgufFile:
    """A GGUF file, mapped.

    Attributes
    ----------
    tensors : list of GgufTensor

    Raises
    ------
    ValueError, OSError
        The file is not sound, or cannot be read.
    """

    def __init__(self, path: str | os.PathLike):
        data = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
        header = GgufHeader(data)
        self._values = header.values
        self.tensors = _tensors(header.tensors, data)

    @property
    def metadata(self) -> dict[str, object]:
        """Numbers, flags and texts by key; None in place of an array."""
        return {
            key: str(value, "utf-8") if isinstance(value, bytes) else value
            for key, value in self._values.items()
        }


def _tensors(entries: Iterable[TensorEntry], data: np.ndarray) -> list[GgufTensor]:
    """Tensors that are inside the data, each with a name and bytes of its own."""
    found: dict[str, GgufTensor] = {}
    spans = []
    for entry in entries:
        name, start = entry.name, entry.offset
        if name in found:
            raise ValueError(f"it has the tensor {name!r:.60} twice")
        kind, size = _type_and_bytes(name, entry.kind, entry.shape)
        if start + size > data.size:
            raise ValueError(f"it ends within the tensor {name!r:.60}")
        spans.append((start, start + size, name))
        content = data[start : start + size]
        found[name] = GgufTensor(name=name, kind=kind, shape=entry.shape, data=content)
    spans.sort()
    for (_, end, first), (start, _, second) in itertools.pairwise(spans):
        if start < end:
            raise ValueError(f"its tensors {first!r:.60} and {second!r:.60} overlap")
    return list(found.values())


def _type_and_bytes(name: str, kind: int, shape: tuple[int, ...]) -> tuple[str, int]:
    """GGML's name of a type, and the bytes of a tensor of that type and shape."""
    if not 1 <= len(shape) <= _MOST_DIMENSIONS or 0 in shape:
        raise ValueError(f"its tensor {name!r:.60} is of shape {shape!r:.60}")
    if kind == _I2_S:
        label, (elements, size), tail = "I2_S", _I2_S_BLOCK, _I2_S_TAIL
    else:
        known = gguf.GGMLQuantizationType(kind)
        label, (elements, size), tail = known.name, gguf.GGML_QUANT_SIZES[known], 0
    if shape[-1] % elements:
        raise ValueError(
            f"rows of its tensor {name!r:.60} must be a multiple of {elements}, not {shape[-1]}"
        )
    return label, math.prod(shape) // elements * size + tail
