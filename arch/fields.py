"""Dataclass fields that may be left out and are there all the same."""

from __future__ import annotations

from typing import overload


class UnlessStated:
    """An integer field that takes None for "not stated" and becomes a number in `__post_init__`.

    Reading the field is therefore always an `int` to a type checker, though the constructor takes
    `int | None`: the owner calls `default` for each such field before anything reads it.
    """

    def __set_name__(self, owner: type, name: str):
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> None: ...

    @overload
    def __get__(self, instance: object, owner: type) -> int: ...

    def __get__(self, instance: object | None, owner: type) -> int | None:
        # dataclass() asks the class for the field's default.
        return None if instance is None else instance.__dict__[self._name]

    def __set__(self, instance: object, value: int | None):
        instance.__dict__[self._name] = value


def stated(instance: object, name: str) -> bool:
    """Whether the field of that name has a value."""
    return getattr(instance, name) is not None


def default(instance: object, name: str, value: int) -> None:
    """Give the field of that name a value where none was stated, also in a frozen dataclass."""
    if not stated(instance, name):
        object.__setattr__(instance, name, value)
