"""Writes generated files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_files(folder: Path, contents: dict[str, str | bytes]) -> tuple[Path, ...]:
    """Write text or bytes to each name in `folder`; no file exists half-written at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
            os.replace(temporary, folder / name)
        except BaseException:
            os.unlink(temporary)
            raise
    return tuple(folder / name for name in contents)
