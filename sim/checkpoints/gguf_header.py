"""The header of a GGUF file: its metadata, and where its tensors are.

Nothing in the file is trusted: lengths and counts are held against the file and a budget before
they are acted on. The format is that of `gguf.md` in llama.cpp, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np

_VERSIONS = (2, 3)
# Each read costs its bytes and this many more. A vocabulary of 128,256 tokens with 280,147 merges
# takes about 110 million.
_BUDGET = 1 << 28
_READ_COST = 256
_VALUES = gguf.GGUFValueType
# How the struct module calls a number of each type.
_FORMATS = {
    _VALUES.UINT8: "B",
    _VALUES.INT8: "b",
    _VALUES.UINT16: "H",
    _VALUES.INT16: "h",
    _VALUES.UINT32: "I",
    _VALUES.INT32: "i",
    _VALUES.FLOAT32: "f",
    _VALUES.UINT64: "Q",
    _VALUES.INT64: "q",
    _VALUES.FLOAT64: "d",
    _VALUES.BOOL: "?",
}


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """What the header says of one tensor.

    Attributes
    ----------
    name : str
    kind : int
        GGML's number of its type.
    shape : tuple of int
        As NumPy has it: the last dimension is contiguous.
    offset : int
        Bytes from the start of the file to the tensor, which need not be inside the file.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    offset: int


class GgufHeader:
    """The header at the start of some bytes.

    Attributes
    ----------
    values : dict of str to number, bool, bytes or None
        Metadata by key: texts as the bytes that should be UTF-8, None in place of an array.
    tensors : list of TensorEntry
        In the order of the file.

    Raises
    ------
    ValueError
        The bytes are no sound header; the message goes on after the name of the file.
    """

    def __init__(self, data: np.ndarray):
        self._data, self._at, self._left = data.data, 0, _BUDGET
        if self._number("I") != gguf.GGUF_MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._number("I")
        if version & 0xFFFF == 0:
            raise ValueError("it is for machines of the other byte order")
        if version not in _VERSIONS:
            raise ValueError(f"its version must be 2 or 3, not {version}")
        tensors, values = self._number("Q"), self._number("Q")
        self.values: dict[str, Any] = {}
        alignment = gguf.GGUF_DEFAULT_ALIGNMENT
        for _ in range(values):
            key, kind = str(self._bytes(), "utf-8"), _VALUES(self._number("I"))
            if key in self.values:
                raise ValueError(f"it has the key {key!r:.60} twice")
            self.values[key] = self._value(kind)
            if key == "general.alignment":
                alignment = self.values[key]
                if kind != _VALUES.UINT32 or alignment.bit_count() != 1:
                    raise ValueError(f"{key} must be a power of two, not {alignment!r:.60}")
        entries = [self._entry() for _ in range(tensors)]
        start = -(-self._at // alignment) * alignment
        self.tensors = [
            TensorEntry(name=name, kind=kind, shape=shape, offset=start + offset)
            for name, kind, shape, offset in entries
        ]

    def _spend(self, size: int) -> None:
        self._left -= size + _READ_COST
        if self._left < 0:
            raise ValueError(f"its header takes more than {_BUDGET:,} bytes")

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise ValueError("it ends within its header")

    def _take(self, size: int) -> memoryview:
        self._spend(size)
        self._skip(size)
        return self._data[self._at - size : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self._take(struct.calcsize(form)))[0]

    def _bytes(self) -> bytes:
        return bytes(self._take(self._number("Q")))

    def _value(self, kind: gguf.GGUFValueType) -> object:
        if kind == _VALUES.STRING:
            return self._bytes()
        if kind == _VALUES.ARRAY:
            self._skip_array()
            return None
        return self._number(_FORMATS[kind])

    def _skip_array(self) -> None:
        """Pass over an array: nobody reads one, and it may have millions of strings."""
        kind, length = _VALUES(self._number("I")), self._number("Q")
        if kind == _VALUES.STRING:
            for _ in range(length):
                self._skip(self._number("Q"))
        elif kind == _VALUES.ARRAY:
            raise ValueError("it has an array of arrays")
        else:
            self._take(struct.calcsize(_FORMATS[kind]) * length)

    def _entry(self) -> tuple[str, int, tuple[int, ...], int]:
        name = str(self._bytes(), "utf-8")
        dimensions = np.frombuffer(self._take(8 * self._number("I")), "<u8")
        # Python's integers: a product of NumPy's may wrap around.
        shape = tuple(reversed(dimensions.tolist()))
        return name, self._number("I"), shape, self._number("Q")
