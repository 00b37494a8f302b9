"""Progress of long work, on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


@contextlib.contextmanager
def bar(what: str, total: int, unit: str, *, done: int = 0) -> Iterator[Callable[..., None]]:
    """A bar; yields a function that advances it, by 1 or by the number that it is given.

    Parameters
    ----------
    what : str
        The work, such as "packing".
    total : int
        Its size in units.
    unit : str
        What is counted, in the plural.
    done : int
        Units that were done earlier.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn(f"{{task.completed:,}} of {{task.total:,}} {unit}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task("", total=total, completed=done)
        yield lambda steps=1: shown.advance(task, steps)


def track(items: Iterable[Item], what: str, total: int, unit: str) -> Iterator[Item]:
    """The items one by one, with a bar that counts them."""
    with bar(what, total, unit) as advance:
        for item in items:
            yield item
            advance()


@contextlib.contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """A line with a spinner; yields a function that changes its text."""
    from rich.console import Console

    with Console(stderr=True).status(text) as shown:
        yield shown.update
