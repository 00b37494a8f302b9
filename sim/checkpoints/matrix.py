"""Weight matrices out of files of users: .npy, .safetensors and .gguf."""

from __future__ import annotations

import contextlib
import difflib
import os
import struct
import tokenize
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from tritloom.arch.errors import InputError
from tritloom.sim.golden.quantise import finite_matrix, is_ternary

from .gguf_file import GgufFile
from .tensors import DTYPES, first_line, require_printable


def load_matrix(path: str | os.PathLike, tensor: str | None = None) -> np.ndarray:
    """Read one weight matrix from a file; the suffix says which kind it is.

    Parameters
    ----------
    path
        A .npy file, .safetensors (F64, F32, F16, BF16) or .gguf (any type that the gguf library
        dequantises). Files are mapped, so of a large one only the matrix itself is read.
    tensor : str, optional
        Which tensor of a .safetensors or .gguf file; may be left out where the file has exactly
        one of two dimensions.

    Returns
    -------
    ndarray of float32, shape (n, k)
        Output features x input features, as in Hugging Face checkpoints. May be read-only.
        A matrix of -1, 0 and +1, of whatever dtype, keeps these values; any other matrix of an
        integer dtype is refused, because its numbers are codes rather than weights.

    Raises
    ------
    InputError
        The file cannot be read or is not what its suffix says, has no such tensor, or the tensor
        is no finite, non-empty matrix of real numbers.
    """
    return load_named_matrix(path, tensor)[1]


def load_named_matrix(path: str | os.PathLike, tensor: str | None = None) -> tuple[str, np.ndarray]:
    """Read one weight matrix as `load_matrix` does; returns the name of its tensor, and the matrix.

    The tensor of a .npy file has the file's name.
    """
    path = Path(path)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path} must end in {', '.join(_READERS)} to be read as weights")
    with sound_file(path):
        name, array = read(path, tensor)
    label = str(path) if path.suffix.lower() == ".npy" else f"{path}: tensor {name}"
    matrix = finite_matrix(label, array)
    if array.dtype.kind in "iu" and not is_ternary(matrix):
        odd = array[~np.isin(array, (-1, 0, 1))].flat[0]
        raise InputError(
            f"{label} is of dtype {array.dtype} and holds {odd}: integers other than -1, 0 and +1 "
            "are codes, not weights"
        )
    return name, np.ascontiguousarray(matrix)


@contextlib.contextmanager
def sound_file(path: Path) -> Iterator[None]:
    """Turn what the parsers raise on a missing or damaged file into an `InputError` of one line."""
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from None
    except _MALFORMED as error:
        raise InputError(f"{path} is not a sound {path.suffix} file: {first_line(error)}") from None


def _read_npy(path: Path, tensor: str | None) -> tuple[str, np.ndarray]:
    if tensor is not None:
        raise InputError(f"{path} holds one unnamed matrix, so no tensor {tensor!r}")
    # Unlike np.load, this never falls back to unpickling what lacks the magic.
    # NumPy warns of old headers, which it reads, and of sizes that wrap around, which it refuses.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return path.stem, np.lib.format.open_memmap(path, mode="r")


def _read_safetensors(path: Path, tensor: str | None) -> tuple[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        names = file.keys()
        name = choose_tensor(
            path, {name: file.get_slice(name).get_shape() for name in names}, tensor
        )
        dtype = file.get_slice(name).get_dtype()
        if dtype not in _NUMBERS:
            raise InputError(
                f"{path}: tensor {name} must be of dtype F64, F32, F16 or BF16, not {dtype}"
            )
        return name, file.get_tensor(name)


def _read_gguf(path: Path, tensor: str | None) -> tuple[str, np.ndarray]:
    tensors = {part.name: part for part in GgufFile(path).tensors}
    name = choose_tensor(path, {name: part.shape for name, part in tensors.items()}, tensor)
    try:
        return name, tensors[name].numbers()
    except NotImplementedError:
        kind = tensors[name].kind
        raise InputError(
            f"{path}: tensor {name} is of type {kind}, which gguf cannot dequantise"
        ) from None


_READERS = {".npy": _read_npy, ".safetensors": _read_safetensors, ".gguf": _read_gguf}
# Tensors of integers may hold trits.
_NUMBERS = {*DTYPES, *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64))}
# What the three parsers raise on damaged files; NumPy's tokenises a header that it cannot parse.
_MALFORMED = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    SyntaxError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    SafetensorError,
)


def choose_tensor(path: Path, shapes: Mapping[str, Collection[int]], tensor: str | None) -> str:
    """The wanted tensor's name, or that of the only matrix; `InputError` where there is none."""
    require_printable(shapes)
    if tensor is not None:
        if tensor not in shapes:
            near = difflib.get_close_matches(tensor, shapes, n=5) or list(shapes)
            raise InputError(f"{path} has no tensor {tensor!r}; it has {_some(near, len(shapes))}")
        return tensor
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    if len(matrices) != 1:
        found = f": name one of {_some(matrices, len(matrices))}" if matrices else ""
        raise InputError(f"{path} has {len(matrices)} tensors of two dimensions{found}")
    return matrices[0]


def _some(names: list[str], total: int) -> str:
    shown = names[:5]
    more = total - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
