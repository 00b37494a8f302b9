"""YAML read from outside: every value is checked before it is used.

PyYAML follows YAML 1.1, where `8e-12` is text and only `8.0e-12` a number, so no value is what it
looks like until `number` has seen it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from arch.errors import InputError

from .tiers import Tier

DATA = Path(__file__).parent / "data"


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; an unreadable one raises `InputError` that names it."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"cannot read {path}: not UTF-8 text") from None


def read_yaml(path: Path) -> Mapping:
    """The mapping that a YAML file holds; anything else raises `InputError`."""
    import yaml

    text = read_text(path)
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise InputError(f"{path} is not YAML{line}: {problem}") from None
    return mapping(str(path), content)


def mapping(where: str, value: object) -> Mapping:
    """`value` if it is a mapping with text keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{where} must be a mapping with text keys, not {_shown(value)}")
    return value


def record(where: str, value: object, *, required: tuple[str, ...]) -> Mapping:
    """`value` if it is a mapping with exactly the `required` keys."""
    value = mapping(where, value)
    for key in required:
        if key not in value:
            raise InputError(f"{where} has no {key}")
    for key in value:
        if key not in required:
            raise InputError(f"{where} has an unknown key {key!r}; known: {', '.join(required)}")
    return value


def number(where: str, value: object) -> float:
    """`value` if it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " (YAML reads an exponent without a point or a sign as text: write 8.0e-12)"
        shown = f"{_shown(value)}{hint if _looks_like_number(value) else ''}"
        raise InputError(f"{where} must be a number, not {shown}")
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{where} must be a finite number of at least 0, not {value}")
    return float(value)


def text(where: str, value: object) -> str:
    """`value` if it is text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where} must be text, not {_shown(value)}")
    return value


def tier(where: str, value: object) -> Tier:
    """The tier of that name."""
    try:
        return Tier(value)
    except ValueError:
        known = ", ".join(Tier)
        raise InputError(f"{where} must be one of {known}, not {_shown(value)}") from None


def _looks_like_number(value: object) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
