"""Liberty's tables: values over an input slew and an output load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .liberty_tree import Node, numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class LookupTable:
    """A value over input slew (ps) and output load (fF), or over one of them, or a constant."""

    slews: np.ndarray
    loads: np.ndarray
    values: np.ndarray

    def at(self, slew, load):
        """The value at a slew and a load, interpolated, and extrapolated beyond the table.

        Slew and load are numbers, or arrays of one shape.
        """
        i, u = _place(self.slews, slew)
        j, v = _place(self.loads, load)
        values = self.values
        if len(self.loads) == 1:
            v = 0.0
            right = j
        else:
            right = j + 1
        down = i if len(self.slews) == 1 else i + 1
        upper = values[i, j] * (1 - v) + values[i, right] * v
        lower = values[down, j] * (1 - v) + values[down, right] * v
        return upper * (1 - u) + lower * u


class Tables:
    """A set of tables of one shape, which are looked up many at a time."""

    def __init__(self):
        self._index = {}
        self._tables = []

    def number(self, table: LookupTable) -> int:
        """The number of a table, which joins the set where it is new."""
        if id(table) not in self._index:
            self._index[id(table)] = len(self._tables)
            self._tables.append(table)
        return self._index[id(table)]

    def freeze(self):
        """Close the set; `at` works from here on."""
        self.slews = np.array([table.slews for table in self._tables])
        self.loads = np.array([table.loads for table in self._tables])
        self.values = np.array([table.values for table in self._tables])

    def at(self, numbers, slew, load):
        """The values of the tables of these numbers at slews and loads, arrays of one length."""
        i, u = self._place(self.slews[numbers], slew)
        j, v = self._place(self.loads[numbers], load)
        values = self.values
        upper = values[numbers, i, j] * (1 - v) + values[numbers, i, j + 1] * v
        lower = values[numbers, i + 1, j] * (1 - v) + values[numbers, i + 1, j + 1] * v
        return upper * (1 - u) + lower * u

    @staticmethod
    def _place(axes, values):
        index = np.clip((values[:, None] > axes).sum(1) - 1, 0, axes.shape[1] - 2)
        rows = np.arange(len(values))
        low, high = axes[rows, index], axes[rows, index + 1]
        return index, (values - low) / (high - low)


def _place(axis, value):
    """The interval of an axis that holds a value, and how far into the interval the value is."""
    if len(axis) == 1:
        return np.zeros(np.shape(value), int), 0.0
    index = np.clip(np.searchsorted(axis, value) - 1, 0, len(axis) - 2)
    return index, (value - axis[index]) / (axis[index + 1] - axis[index])


def templates(library: Node) -> dict[str, dict[str, list[float]]]:
    """The templates of tables: name -> variable -> values of the axis."""
    return {
        child.args[0]: _axes(child)
        for child in library.children
        if child.id in ("lu_table_template", "power_lut_template")
    }


def _axes(node) -> dict[str, list[float]]:
    axes = {}
    for index in (1, 2):
        variable = node.text(f"variable_{index}")
        values = node.find(f"index_{index}")
        if variable and values is not None:
            axes[variable] = numbers(values.args)
    return axes


# Variables that stand for the slew of the pin itself; a constraint's second axis is the clock's.
_SLEWS = ("input_net_transition", "input_transition_time", "constrained_pin_transition")


def table(node: Node, templates: dict[str, dict[str, list[float]]]) -> LookupTable:
    """A table of the library, with the axes of its template or with its own."""
    template = templates.get(node.args[0], {}) if len(node.args) else {}
    axes = dict(template)
    for index, variable in enumerate(template, start=1):
        if (own := node.find(f"index_{index}")) is not None:
            axes[variable] = numbers(own.args)
    if (stated := node.find("values")) is None:
        raise ValueError(f"{node.id} has no values")
    values = np.array(numbers(stated.args))
    values = values.reshape([len(axis) for axis in axes.values()] or [1])
    names = list(axes)
    if names and names[0] not in _SLEWS:
        values, names = (values.T, names[::-1]) if len(names) == 2 else (values[None, :], names)
        slews = axes[names[0]] if len(names) == 2 else [0.0]
        loads = axes[names[-1]]
    else:
        slews = axes[names[0]] if names else [0.0]
        loads = axes[names[1]] if len(names) == 2 else [0.0]
    return LookupTable(
        slews=np.array(slews),
        loads=np.array(loads),
        values=values.reshape(len(slews), len(loads)),
    )


def merge(tables: list[LookupTable], how) -> LookupTable:
    """One table made of several over the same axes; a constant fits any."""
    axes = max(tables, key=lambda table: table.values.size)
    values = [np.broadcast_to(table.values, axes.values.shape) for table in tables]
    return LookupTable(slews=axes.slews, loads=axes.loads, values=how(values, axis=0))
