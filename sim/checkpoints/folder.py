"""A model folder: packed weights, floats and a manifest, as `python -m sim import` writes it.

docs/import.md has the format.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from tritloom.arch import layout
from tritloom.arch.config import ArrayConfig
from tritloom.arch.driver import Job
from tritloom.arch.errors import InputError, require_int
from tritloom.arch.files import digest, read_json
from tritloom.arch.ternary import PACKINGS, Packing
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm

from .matrix import sound_file

FORMAT, VERSION = "tritloom-model", 1
MANIFEST, CONFIG, VOCABULARY = "manifest.json", "config.json", "vocabulary.json"
FLOATS, TRACE, WEIGHTS = "floats.safetensors", "trace.yaml", "weights"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_MOST_K = 1 << 30


def job(config: ArrayConfig, packing: Packing, k: int, n: int, *, tokens: int = 1) -> Job:
    """A run with a matrix (n, k); a k beyond the array's `max_k` changes nothing in its beats."""
    return Job(make_plan(config.replace(max_k=max(k, config.max_k)), Gemm(tokens, k, n)), packing)


def pass_bytes(each: Job) -> int:
    """Bytes of the weight stream of one pass."""
    plan = each.plan
    positions = plan.config.cols * plan.config.lanes
    beats = layout.pass_beats(plan.pass_slices, positions, each.packing)
    return beats * layout.beat_bytes(positions)


class ModelFolder:
    """An opened model folder; files are checked against the manifest when they are first read.

    Attributes
    ----------
    path : Path
    manifest : dict
    config : dict or None
        Content of Hugging Face's `config.json`, where the folder has one.
    vocabulary : list of str or None
        The character of each token id, where the folder has a vocabulary.
    plan_config : ArrayConfig
        Rows, columns, lanes and dataflow are those that the weights were packed for.
    packing : Packing
    matrices : list of str
        Names of the ternary matrices, layer 2 before layer 10.
    floats : mapping of str to ndarray of float32
        Read from the file at each access.
    """

    def __init__(self, path: Path):
        self.path = path
        self.manifest = read_manifest(path / MANIFEST)
        self.matrices = sorted(self.manifest["matrices"], key=_reading_order)
        self.packing = PACKINGS[self.manifest["packing"]]
        largest = max(entry["k"] for entry in self.manifest["matrices"].values())
        default = ArrayConfig(rows=1, cols=1, lanes=1).max_k
        self.plan_config = ArrayConfig(**self.manifest["array"], max_k=max(largest, default))
        self.config = self._json(CONFIG, dict)
        self.vocabulary = self._json(VOCABULARY, list)
        self.floats: Mapping[str, np.ndarray] = _Floats(path, self.manifest["floats"])
        self._sound: set[str] = set()

    def job(self, name: str, *, tokens: int = 1) -> Job:
        """A run of the core with that matrix."""
        entry = self._entry(name)
        return job(self.plan_config, self.packing, entry["k"], entry["n"], tokens=tokens)

    def scale(self, name: str) -> np.float32:
        """The scale that multiplies the trits of a matrix."""
        return np.float32(self._entry(name)["scale"])

    def beats(self, name: str) -> np.ndarray:
        """Beats of a pass, uint8 of shape (beats, bytes of a beat), mapped.

        Raises
        ------
        InputError
            There is no such matrix, or its file is not what the manifest says.
        """
        entry, path = self._entry(name), self.path / WEIGHTS / f"{name}.bin"
        array = self.plan_config
        width = layout.beat_bytes(array.cols * array.lanes)
        with sound_file(path):
            if name not in self._sound:
                _require_digest(path, entry)
                self._sound.add(name)
            return np.memmap(path, np.uint8, mode="r").reshape(-1, width)

    def trits(self, name: str) -> np.ndarray:
        """Trits of a matrix, int8 of shape (n, k); raises as `beats` does."""
        beats = self.beats(name)
        try:
            return self.job(name).trits(beats)
        except InputError as error:
            raise InputError(f"{self.path / WEIGHTS / name}.bin: {error}") from None

    def _entry(self, name: str) -> dict:
        if name not in self.manifest["matrices"]:
            raise InputError(f"{self.path} has no matrix {name!r:.60}")
        return self.manifest["matrices"][name]

    def _json(self, name: str, kind: type):
        path = self.path / name
        if not path.exists():
            return None
        content = read_json(path)
        if not isinstance(content, kind):
            raise InputError(f"{path} must hold a JSON {kind.__name__}, not {content!r:.60}")
        return content


def _reading_order(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in name.split(".")]


class _Floats(Mapping):
    """Tensors of a .safetensors file as float32."""

    def __init__(self, folder: Path, entry: dict | None):
        self._path, self._entry = folder / FLOATS, entry or {}
        self._file: Any = None

    def _open(self):
        if self._file is None:
            _require_digest(self._path, self._entry)
            self._file = safe_open(self._path, framework="numpy")
        return self._file

    def _names(self) -> list[str]:
        if not self._entry:
            return []
        with sound_file(self._path):
            return list(self._open().keys())

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names():
            raise KeyError(name)
        with sound_file(self._path):
            return self._open().get_tensor(name).astype(np.float32)

    def __iter__(self):
        return iter(self._names())

    def __len__(self):
        return len(self._names())


def open_folder(path: str | os.PathLike) -> ModelFolder:
    """Open a model folder.

    Parameters
    ----------
    path : str or path
        A folder that `python -m sim import` wrote; docs/import.md has the format.

    Returns
    -------
    ModelFolder
        Trits, beats, scales and floats by the name of a matrix.

    Raises
    ------
    InputError
        It is none, or its manifest, config or vocabulary is damaged.
    """
    path = Path(path)
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path} is no model folder: it has no {MANIFEST}")
    return ModelFolder(path)


def _require_digest(path: Path, entry: Mapping) -> None:
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise InputError(f"{path} must have {entry['bytes']:,} bytes, not {size:,}")
    if digest(path) != entry["sha256"]:
        raise InputError(f"{path} is not the file whose SHA-256 {MANIFEST} states")


def read_manifest(path: Path) -> dict:
    """A manifest; `InputError` where it is damaged."""
    content = read_json(path)
    try:
        return _checked(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _checked(content: object) -> dict:
    """A manifest whose every entry that is read later is of its kind and in its range."""
    manifest = _object("the manifest", content)
    for key, wanted in (("format", FORMAT), ("version", VERSION)):
        if manifest.get(key) != wanted:
            raise InputError(f"{key} must be {wanted!r}, not {manifest.get(key)!r:.60}")
    packing = manifest.get("packing")
    if not isinstance(packing, str) or packing not in PACKINGS:
        raise InputError(f"packing must be one of {', '.join(PACKINGS)}, not {packing!r:.60}")
    array = _object("array", manifest.get("array"))
    if set(array) != {"rows", "cols", "lanes", "dataflow"}:
        raise InputError("array must have rows, cols, lanes and dataflow alone")
    config = ArrayConfig(**array)
    matrices = _object("matrices", manifest.get("matrices"))
    if not matrices:
        raise InputError("matrices must not be empty")
    for name, value in matrices.items():
        if not _SAFE_NAME.fullmatch(name):
            raise InputError(f"no matrix can be named {name!r:.60}")
        entry = _object(name, value)
        k, n = (require_int(f"{name}: {key}", entry.get(key), high=_MOST_K) for key in ("k", "n"))
        scale = entry.get("scale")
        if not isinstance(scale, float) or not np.isfinite(scale):
            raise InputError(f"{name}: scale must be a number, not {scale!r:.60}")
        _check_file(name, entry)
        wanted = pass_bytes(job(config, PACKINGS[packing], k, n))
        if entry["bytes"] != wanted:
            raise InputError(f"{name}: bytes must be {wanted:,}, not {entry['bytes']:,}")
    if manifest.setdefault("floats", None) is not None:
        _check_file("floats", _object("floats", manifest["floats"]))
    return manifest


def _check_file(name: str, entry: Mapping) -> None:
    require_int(f"{name}: bytes", entry.get("bytes"), high=1 << 60)
    stated = entry.get("sha256")
    if not isinstance(stated, str) or not re.fullmatch("[0-9a-f]{64}", stated):
        raise InputError(f"{name}: sha256 must be 64 hexadecimal digits, not {stated!r:.60}")


def _object(name: str, value: object) -> dict:
    if not isinstance(value, dict):
        raise InputError(f"{name} must be an object, not {value!r:.60}")
    return value
