"""Files that are read strictly and written whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import InputError, one_line

# A file of JSON that is larger is none that a command asks for.
_MOST_JSON_BYTES = 1 << 26


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` at the end, and not before.

    Where the block raises, nothing is left of it. The mode of the file is what the umask gives.
    """
    # Made by open(), whose mode follows the umask, which tempfile's does not.
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    temporary.open("xb").close()
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_files(folder: Path, contents: Mapping[str, str | bytes]) -> tuple[Path, ...]:
    """Write text or bytes to each name in `folder`; no file exists half-written at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tuple(folder / name for name in contents)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file whole; `InputError` names it where it cannot be written."""
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    except UnicodeEncodeError:
        raise InputError(f"cannot write {path}: its text is not UTF-8") from None
    except ValueError:
        raise InputError(f"cannot write {str(path)!r:.60}: no name of a file") from None


def read_text(path: Path) -> str:
    """Text of a UTF-8 file, without a byte order mark; else `InputError` names the file."""
    with _reading(path):
        return path.read_text(encoding="utf-8-sig")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what may go wrong while `path` is read into an `InputError` that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"cannot read {path}: not UTF-8 text") from None
    except ValueError:
        raise InputError(f"cannot read {str(path)!r:.60}: no name of a file") from None


def read_json(path: Path) -> object:
    """What a JSON file holds; `InputError` names the file where it is none, or has a key twice."""
    with _reading(path):
        small = path.stat().st_size <= _MOST_JSON_BYTES
        content = path.read_bytes() if small else b""
    if not small:
        raise InputError(f"{path} must have at most {_MOST_JSON_BYTES:,} bytes")
    return parse_json(content, str(path))


def parse_json(text: str | bytes, where: str) -> object:
    """What a JSON text, or the bytes of a UTF-8 file, hold; `InputError` names `where` it stood.

    Strict beyond Python's own reader: NaN, infinities and numbers that would become infinite are
    refused, and so is a key that is there twice, since the second would hide the first.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite
        )
    except UnicodeDecodeError:
        raise InputError(f"{where} is not JSON: not UTF-8 text") from None
    except RecursionError:
        raise InputError(f"{where} is not JSON: it is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from None


def cache_folder(name: str) -> Path:
    """Folder for what is made once and kept, such as builds; it exists and can be written to.

    Beside a checkout's source it is `build/NAME` of the working folder, so that `make clean` finds
    it. Elsewhere, or where the working folder is read-only, it is a folder of that name in the
    folder `tritloom` of the user's cache: `$XDG_CACHE_HOME`, or `.cache` in the home folder.

    Raises
    ------
    InputError
        No such folder can be made.
    """
    in_checkout = _is_checkout(Path(__file__).parents[1])
    here = Path("build", name)
    if in_checkout and _writable(here) is None:
        return here
    folder = _user_cache() / "tritloom" / name
    if reason := _writable(folder):
        raise InputError(f"cannot keep files in {folder}: {reason}; set XDG_CACHE_HOME to a folder")
    return folder


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(*parts: str) -> str:
    """Sixteen hexadecimal digits that tell these texts from others, for names of builds."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f"{len(part)}:{part}".encode())
    return whole.hexdigest()[:16]


def _is_checkout(folder: Path) -> bool:
    """Whether our source stands in this folder, to be worked on."""
    try:
        project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return 'name = "tritloom"' in project.splitlines() and os.access(folder, os.W_OK)


def _user_cache() -> Path:
    # A relative path is to be ignored, says the XDG Base Directory Specification.
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        raise InputError("no home folder to keep files in: set XDG_CACHE_HOME") from None


def _writable(folder: Path) -> str | None:
    """Make a folder; returns why nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Its mode may allow what its file system does not, and root may more than its mode.
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror
    except ValueError as error:
        return str(error)


def _unique(pairs: list[tuple[str, object]]) -> dict:
    found: dict = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{one_line(key):.60} is there twice")
        found[key] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.60} is no finite number")
    return value
