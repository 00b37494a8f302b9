"""The lines on which a machine's energy is written down."""

from __future__ import annotations

import enum
from typing import Self


class Line(enum.StrEnum):
    """What a machine spends energy on, in the order in which it is printed.

    A line's value is its key in JSON and CSV, its `label` what a table shows.
    """

    label: str

    def __new__(cls, key: str, label: str = "") -> Self:
        """Make the line of that key and label."""
        line = str.__new__(cls, key)
        line._value_, line.label = key, label
        return line

    PRODUCTS = "products", "products of weights"
    ACCUMULATORS = "accumulators", "accumulators"
    ATTENTION = "attention", "attention"
    SCALES = "scales", "scales"
    VECTORS = "vectors", "norms and softmax"
    REGISTERS = "registers", "registers and hops"
    SRAM = "sram", "SRAM operand traffic"
    WEIGHTS = "weights", "DRAM, weights"
    ACTS = "acts", "DRAM, acts"
    PSUMS = "psums", "DRAM, psums"
    KV_CACHE = "kv_cache", "DRAM, key-value cache"
    STATIC = "static", "static power"
