"""Colours and files that all pictures share.

Matplotlib is imported on use: it is slow.
"""

from __future__ import annotations

from pathlib import Path

from tritloom.arch.errors import InputError
from tritloom.arch.files import whole_file

LLAMA_COLOUR, BITNET_COLOUR = "#9aa5b1", "#d1495b"


def picture_format(path: Path) -> str:
    """Return the format that a picture's suffix asks for.

    Raises
    ------
    InputError
        Matplotlib knows no such format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    suffix = path.suffix.removeprefix(".").lower()
    formats = FigureCanvasAgg.filetypes
    if suffix not in formats:
        raise InputError(f"cannot plot to {path}: its suffix must be one of {', '.join(formats)}")
    return suffix


def write_picture(picture, path: Path) -> None:
    """Write a Matplotlib figure in the format of the suffix; nothing is left where that fails.

    Raises
    ------
    InputError
        The format is unknown, or the file cannot be written.
    """
    suffix = picture_format(path)
    try:
        with whole_file(path) as temporary:
            picture.savefig(temporary, format=suffix, dpi=120)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
