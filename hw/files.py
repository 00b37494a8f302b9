"""Writes generated files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_files(folder: Path, texts: dict[str, str]) -> tuple[Path, ...]:
    """Write each text to its name in `folder`; no file exists half-written at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.replace(temporary, folder / name)
        except BaseException:
            os.unlink(temporary)
            raise
    return tuple(folder / name for name in texts)
