"""What can go wrong that a user is told in one line."""

from collections.abc import Collection


class InputError(ValueError):
    """Bad input from outside: its message is one line that names the thing and the value.

    Command lines print the message alone and exit with status 2.
    """


class MismatchError(RuntimeError):
    """Two witnesses disagree: the message names both and the first difference.

    Command lines print the message alone and exit with status 1.
    """


class ToolError(RuntimeError):
    """A program that a command starts is missing or failed; the first line of its message says it.

    Command lines print that line and exit with status 2.
    """


def one_line(error: Exception | str) -> str:
    """The message of an error, with escapes for what file names may hold and a line may not."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))


def require_int(name: str, value: object, *, low: int = 1, high: int | None = None) -> int:
    """Return `value` if it is an integer in [low, high], else raise `InputError` naming it."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} must be an integer, not {value!r}")
    if value < low:
        raise InputError(f"{name} must be at least {low}, not {value}")
    if high is not None and value > high:
        raise InputError(f"{name} must be at most {high}, not {value}")
    return value


def require_one_of(name: str, value: object, known: Collection[str]) -> None:
    """Raise `InputError`, which names `name` and those known, where `value` is none of them."""
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}")
