"""YAML read from outside: every value is checked before it is used.

PyYAML follows YAML 1.1, where `8e-12` is text and only `8.0e-12` a number, so no value is what it
looks like until `number` has seen it. A `Record` names file, line and key of what is wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path

from tritloom.arch.errors import InputError
from tritloom.arch.files import read_text

from .tiers import Tier

DATA = Path(__file__).parents[1] / "data"
# The largest file that ships has some hundred nodes, a sweep's lists may have thousands.
_MOST_NODES = 1_000_000
# Beyond it an integer is no float any more, and at some length Python does not print it.
_MOST_BITS = 1000


def read_yaml(path: Path) -> Record:
    """The mapping that a YAML file holds; anything else raises `InputError`."""
    import yaml

    text = read_text(path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        if root and _expanded(root, {}) > _MOST_NODES:
            raise InputError(f"{path} repeats itself to more than {_MOST_NODES:,} values")
        content = _value(loader, root, path, "", 1) if root else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise InputError(f"{path} is not YAML{line}: {problem}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply, or in itself") from None
    finally:
        loader.dispose()
    if not isinstance(content, Record):
        raise _no_mapping(str(path), content)
    return content


def _expanded(node, known: dict[int, int]) -> int:
    """Nodes from one down, each as often as aliases repeat it; `known` has those of nodes by id."""
    if id(node) not in known:
        children = itertools.chain(*node.value) if node.id == "mapping" else node.value
        below = 0 if node.id == "scalar" else sum(_expanded(child, known) for child in children)
        known[id(node)] = 1 + below
    return known[id(node)]


def _construct(loader, node, path: Path):
    """Value of a scalar or a key; PyYAML checks tags and dates by trying."""
    try:
        value = loader.construct_object(node, deep=True)
        if not isinstance(value, int) or value.bit_length() <= _MOST_BITS:
            return value
    except (ValueError, LookupError, AttributeError, TypeError):
        pass
    kind = node.tag.rpartition(":")[2]
    line = node.start_mark.line + 1
    raise InputError(f"{path}, line {line}: {_shown(node.value)} is no {kind} that can be read")


def _value(loader, node, path: Path, name: str, line: int):
    """Value of a node; mappings become records, since PyYAML's own forget their lines."""
    if node.id == "sequence":
        return [
            _value(loader, child, path, f"{name}[{i}]", line) for i, child in enumerate(node.value)
        ]
    if node.id != "mapping":
        return _construct(loader, node, path)
    found = Record(path, name, line)
    for key_node, child in node.value:
        key, line = _construct(loader, key_node, path), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise InputError(
                f"{found.place(line)} must be a mapping with text keys, not {_shown(key)}"
            )
        if key in found:
            raise InputError(f"{found.place(line)} has {key} twice")
        found.lines[key] = line
        found[key] = _value(loader, child, path, f"{name}.{key}".lstrip("."), line)
    return found


class Record(dict):
    """A mapping of a YAML file, whose methods name file, line and key of a wrong value.

    Attributes
    ----------
    path : Path
    name : str
        Keys that lead to it, such as "memory.dram"; empty for the whole file.
    line : int
        Line of the record's own key.
    lines : dict of str to int
        Line of each key.
    """

    def __init__(self, path: Path, name: str, line: int):
        super().__init__()
        self.path, self.name, self.line = path, name, line
        self.lines: dict[str, int] = {}

    def place(self, line: int | None = None, key: str = "") -> str:
        """File, line and dotted key of the record itself, or of a key in it."""
        name = ".".join(filter(None, (self.name, key)))
        return f"{self.path}, line {line or self.line}" + (f": {name}" if name else "")

    def at(self, key: str) -> str:
        """File, line and dotted key of a value."""
        return self.place(self.lines.get(key), key)

    def only(self, *required: str, optional: tuple[str, ...] = ()) -> Record:
        """Return the record if it has all `required` keys, and no others but `optional` ones."""
        for key in required:
            if key not in self:
                raise InputError(f"{self.place()} has no {key}")
        known = (*required, *optional)
        for key in self:
            if key not in known:
                raise InputError(
                    f"{self.place(self.lines[key])} has an unknown key {key!r}; "
                    f"known: {', '.join(known)}"
                )
        return self

    def record(self, key: str) -> Record:
        """Return the value of that key if it is a mapping."""
        value = self[key]
        if not isinstance(value, Record):
            raise InputError(f"{self.at(key)} must be a mapping, not {_shown(value)}")
        return value

    def number(self, key: str) -> float:
        """Return the value of that key if it is a number of at least 0."""
        return number(self.at(key), self[key])

    def positive(self, key: str) -> float:
        """Return the value of that key if it is a number above 0."""
        if not self.number(key):
            raise InputError(f"{self.at(key)} must be above 0, not {self[key]}")
        return float(self[key])

    def text(self, key: str) -> str:
        """Return the value of that key if it is text that is not blank."""
        return text(self.at(key), self[key])

    def tier(self, key: str) -> Tier:
        """Return the value of that key if it is a tier."""
        return tier(self.at(key), self[key])


def mapping(where: str, value: object) -> Mapping:
    """Return `value` if it is a mapping with text keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _no_mapping(where, value)
    return value


def _no_mapping(where: str, value: object) -> InputError:
    return InputError(f"{where} must be a mapping with text keys, not {_shown(value)}")


def record(where: str, value: object, *, required: tuple[str, ...]) -> Mapping:
    """Return `value` if it is a mapping with exactly the `required` keys."""
    value = mapping(where, value)
    for key in required:
        if key not in value:
            raise InputError(f"{where} has no {key}")
    for key in value:
        if key not in required:
            raise InputError(f"{where} has an unknown key {key!r}; known: {', '.join(required)}")
    return value


def number(where: str, value: object) -> float:
    """Return `value` if it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " (YAML reads an exponent without a point or a sign as text: write 8.0e-12)"
        shown = f"{_shown(value)}{hint if _looks_like_number(value) else ''}"
        raise InputError(f"{where} must be a number, not {shown}")
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{where} must be a finite number of at least 0, not {value}")
    return float(value)


def text(where: str, value: object) -> str:
    """Return `value` if it is text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where} must be text, not {_shown(value)}")
    return value


def tier(where: str, value: object) -> Tier:
    """The tier of that name."""
    for known in Tier:
        if value == known:
            return known
    raise InputError(f"{where} must be one of {', '.join(Tier)}, not {_shown(value)}")


def _looks_like_number(value: object) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
