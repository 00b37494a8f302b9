"""Cost tables: the joules of an action, and of counts of actions together.

Counts (`arch.counts`) know no joules, and costs know no dataflow: energy is their product. Every
cost has a low, a nominal and a high value, a source and a tier.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tritloom.arch.counts import Counts
from tritloom.arch.errors import InputError, require_one_of

from . import datafile
from .range import Range, add_up
from .tiers import Tier, weakest

CATEGORIES = ("arithmetic", "registers", "buffer", "DRAM", "unknown")
ARITHMETIC, REGISTERS, BUFFER, DRAM, UNKNOWN = CATEGORIES
_LEVELS = {"hop_bits": REGISTERS, "buffer_bits": BUFFER, "sram_bits": BUFFER, "dram_bits": DRAM}

# Joules of one action, or of one bit where the action is counted in bits.
_PER_ACTION = {"pJ": 1e-12}
_PER_BIT = {"pJ/bit": 1e-12, "pJ/64bit": 1e-12 / 64}
_UNITS = _PER_ACTION | _PER_BIT


def category(action: str) -> str:
    """Where an action spends its energy: arithmetic, registers, buffer, DRAM, or unknown."""
    if action == "select" or action.startswith(("add_", "mul_")):
        return ARITHMETIC
    return _LEVELS.get(_level(action), UNKNOWN)


def load_costs(name: str) -> CostTable:
    """The cost table of a name, or of a YAML file.

    Parameters
    ----------
    name : str
        "paper" or another table that ships (docs/costs.md), or a path that ends in .yaml.

    Returns
    -------
    CostTable

    Raises
    ------
    InputError
        There is no such table or file, or a value in it is not what it must be.
    """
    tables = {p.stem.removeprefix("costs_"): p for p in sorted(datafile.DATA.glob("costs_*.yaml"))}
    if not name.lower().endswith((".yaml", ".yml")) and name not in tables:
        known = ", ".join(tables)
        raise InputError(f"unknown costs {name!r}; known: {known}, or the path of a .yaml file")
    return _read_table(tables.get(name) or Path(name))


@functools.cache
def estimates() -> CostTable:
    """Costs that no source states, for what a table leaves out."""
    return _read_table(datafile.DATA / "estimates.yaml")


def _read_table(path: Path) -> CostTable:
    content = datafile.read_yaml(path)
    content.only("name", "node", "costs", optional=("note", "otherwise"))
    entries = read_costs(content, "costs")
    if "otherwise" in content:
        # Only a table that ships may be named, so that no two can name each other.
        if (other := content.text("otherwise")) != "paper":
            raise InputError(f"{content.at('otherwise')} must be paper, not {other!r}")
        entries = {**load_costs(other).entries, **entries}
    return CostTable(
        name=content.text("name"),
        node=content.text("node"),
        entries=entries,
        note=content.text("note") if "note" in content else None,
    )


def read_costs(content: datafile.Record, key: str) -> dict[str, Cost]:
    """The costs of a data file under that key."""
    costs = content.record(key)
    return {action: read_cost(costs, action, action) for action in costs}


def read_cost(content: datafile.Record, key: str, action: str) -> Cost:
    """The cost of a data file under that key, for that action."""
    fields = content.record(key).only("low", "nominal", "high", "unit", "source", "tier")
    low, nominal, high = (fields.number(level) for level in ("low", "nominal", "high"))
    unit, source, tier = fields.text("unit"), fields.text("source"), fields.tier("tier")
    try:
        cost = Cost(low=low, nominal=nominal, high=high, unit=unit, source=source, tier=tier)
        # A table refuses what is no action, and a unit that does not fit it.
        CostTable(name="", node="", entries={action: cost})
        return cost
    except InputError as error:
        raise InputError(f"{fields.place()}: {error}") from None


def price(counts: Mapping[str, int], table: CostTable) -> Energy:
    """Energy of counted actions; what the table cannot price is kept as `unpriced`.

    Parameters
    ----------
    counts : mapping of str to int
        Occurrences by action, as `tritloom.arch.counts` names them.
    table : CostTable

    Returns
    -------
    Energy
        In joules, by action.
    """
    by_action, unpriced, tiers = {}, {}, {}
    for action, count in counts.items():
        cost = table.cost(action)
        if cost is None:
            unpriced[action] = count
        else:
            by_action[action] = count * cost.energy_j
            tiers[action] = cost.tier
    return Energy(by_action=by_action, tiers=tiers, unpriced=Counts(**unpriced))


def shared_ratio(over: Energy, under: Energy) -> Range | None:
    """`over` / `under` where an action costs the same in both; None where one of them is zero.

    A cost that both share moves in both at once: the range is that of the ratio over all costs
    within theirs. Extremes of such a ratio lie where each cost is at its own end, sorted by how
    much more of it `over` has: so only that many corners need a look, not all of them.
    """
    levels: dict[str, tuple[Range, Range]] = {}
    for side, energy in enumerate((over, under)):
        for action, joules in energy.by_action.items():
            key = _level(action) or action
            pair = list(levels.get(key, (Range(), Range())))
            pair[side] += joules
            levels[key] = pair[0], pair[1]
    pairs = sorted(
        levels.values(),
        key=lambda p: p[0].high / p[1].high if p[1].high else math.inf,
        reverse=True,
    )
    if not all(sum(pair[side].low for pair in pairs) for side in (0, 1)):
        return None

    def corner(first: str, rest: str, count: int) -> float:
        ends = [first] * count + [rest] * (len(pairs) - count)
        totals = [
            sum(getattr(pair[side], end) for pair, end in zip(pairs, ends, strict=True))
            for side in (0, 1)
        ]
        return totals[0] / totals[1]

    return Range(
        low=min(corner("low", "high", count) for count in range(len(pairs) + 1)),
        nominal=corner("nominal", "nominal", 0),
        high=max(corner("high", "low", count) for count in range(len(pairs) + 1)),
    )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Published or derived energy of one action, in the unit of its source.

    Attributes
    ----------
    low, nominal, high : float
    unit : str
        "pJ" for an operation; "pJ/bit" or "pJ/64bit" for bits that move.
    source : str
    tier : Tier

    Raises
    ------
    InputError
        A value is no number, negative, or out of order; the unit or tier is unknown; the source
        is blank.
    """

    low: float
    nominal: float
    high: float
    unit: str
    source: str
    tier: Tier

    def __post_init__(self):
        for name in ("low", "nominal", "high"):
            datafile.number(name, getattr(self, name))
        if not self.low <= self.nominal <= self.high:
            values = f"{self.low}, {self.nominal}, {self.high}"
            raise InputError(f"low, nominal and high must rise, which {values} do not")
        require_one_of("unit", datafile.text("unit", self.unit), _UNITS)
        datafile.text("source", self.source)
        datafile.tier("tier", self.tier)

    @property
    def energy_j(self) -> Range:
        """Joules of one action, or of one bit."""
        return _UNITS[self.unit] * Range(low=self.low, nominal=self.nominal, high=self.high)


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """What actions cost in one technology.

    Attributes
    ----------
    name, node : str
        Such as "paper" and "7 nm".
    entries : mapping of action to Cost
        A key is an action of `arch.counts`, or `hop_bits`, `buffer_bits`, `sram_bits` or
        `dram_bits` for every action of that level of the memory hierarchy.
    note : str, optional
        What a report that uses these costs must say.
    """

    name: str
    node: str
    entries: Mapping[str, Cost]
    note: str | None = None

    def __post_init__(self):
        for action, cost in self.entries.items():
            if category(action) == UNKNOWN:
                raise InputError(f"{action!r} is not an action that can have a cost")
            units = _PER_BIT if action.endswith("_bits") else _PER_ACTION
            if cost.unit not in units:
                known = " or ".join(units)
                raise InputError(f"{action}: unit must be {known}, not {cost.unit!r}")

    def cost(self, action: str) -> Cost | None:
        """The cost of an action, or None where the table has none."""
        if action not in self._found:
            entries = self.entries
            self._found[action] = (
                entries.get(action) or entries.get(_level(action)) or self._adder(action)
            )
        return self._found[action]

    def priced(self, action: str) -> Cost:
        """The cost of an action; `InputError` where the table has none."""
        cost = self.cost(action)
        if cost is None:
            raise InputError(f"costs {self.name!r} have no {action}")
        return cost

    def joules(self, action: str) -> Range | None:
        """Joules of one action, or of one bit; None where the table cannot price it."""
        if action not in self._joules:
            cost = self.cost(action)
            self._joules[action] = cost.energy_j if cost else None
        return self._joules[action]

    @functools.cached_property
    def _joules(self) -> dict[str, Range | None]:
        return {}

    @functools.cached_property
    def _found(self) -> dict[str, Cost | None]:
        """Costs found so far: a sweep asks for the same few."""
        return {}

    def _adder(self, action: str) -> Cost | None:
        """An integer adder of any width, on the line through the 8 and the 32 bit one.

        DERIVED between the two widths, PROJECTED outside.
        """
        bits = action.removeprefix("add_int")
        narrow, wide = self.entries.get("add_int8"), self.entries.get("add_int32")
        if bits == action or not bits.isdecimal() or not narrow or not wide:
            return None
        share = (int(bits) - 8) / (32 - 8)
        values = {
            name: getattr(narrow, name) + share * (getattr(wide, name) - getattr(narrow, name))
            for name in ("low", "nominal", "high")
        }
        if not 0 < values["low"] <= values["nominal"] <= values["high"]:
            return None
        return Cost(
            **values,
            unit="pJ",
            source=f"linear in width between add_int8 and add_int32: {narrow.source}",
            tier=Tier.DERIVED if 0 <= share <= 1 else Tier.PROJECTED,
        )


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy of counted actions; energies add and scale.

    Attributes
    ----------
    by_action : mapping of action to Range
        Joules of every action that has a cost.
    tiers : mapping of action to Tier
        Tiers of those costs.
    unpriced : Counts
        Actions without a cost: their energy is unknown, not zero.
    """

    by_action: Mapping[str, Range] = field(default_factory=dict)
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    unpriced: Counts = field(default_factory=Counts)

    @property
    def total_j(self) -> Range:
        """Sum over all actions that have a cost."""
        return add_up(self.by_action.values())

    @property
    def tier(self) -> Tier:
        """The weakest of the costs in it; DERIVED at best, since it is computed."""
        return weakest([Tier.DERIVED, *self.tiers.values()])

    @property
    def by_category(self) -> dict[str, Energy]:
        """The categories that occur, priced or not, in the order of `CATEGORIES`."""
        found = {category(action) for action in (*self.by_action, *self.unpriced)}
        return {
            name: self.only(functools.partial(_is_in, name)) for name in CATEGORIES if name in found
        }

    def only(self, wanted: Callable[[str], bool]) -> Energy:
        """The part that is spent on the wanted actions."""
        return Energy(
            by_action={a: joules for a, joules in self.by_action.items() if wanted(a)},
            tiers={a: tier for a, tier in self.tiers.items() if wanted(a)},
            unpriced=Counts(**{a: count for a, count in self.unpriced.items() if wanted(a)}),
        )

    def __add__(self, other: Energy) -> Energy:
        joules = dict(self.by_action)
        for action, more in other.by_action.items():
            joules[action] = joules[action] + more if action in joules else more
        return Energy(
            by_action=joules,
            tiers={**self.tiers, **other.tiers},
            unpriced=self.unpriced + other.unpriced,
        )

    def __rmul__(self, factor: float) -> Energy:
        return Energy(
            by_action={action: factor * joules for action, joules in self.by_action.items()},
            tiers=self.tiers,
            unpriced=self.unpriced,
        )


def _is_in(name: str, action: str) -> bool:
    """Whether an action is in the category of that name."""
    return category(action) == name


def _level(action: str) -> str:
    """The memory level of an action counted in bits, else nothing: "hop_bits" of "act_hop_bits"."""
    level = "_".join(action.split("_")[-2:])
    return level if level in _LEVELS else ""
