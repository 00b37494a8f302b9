"""Writes model folders, whole or not at all: `sim.checkpoints.folder` reads them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tritloom.arch.config import ArrayConfig
from tritloom.arch.driver import Job
from tritloom.arch.errors import InputError
from tritloom.arch.files import digest
from tritloom.arch.ternary import Packing

from .folder import (
    CONFIG,
    FLOATS,
    FORMAT,
    MANIFEST,
    TRACE,
    VERSION,
    VOCABULARY,
    WEIGHTS,
    job,
    pass_bytes,
    read_manifest,
)
from .tensors import DTYPES, Checkpoint, FloatTensor, TernaryMatrix


def write_folder(
    checkpoint: Checkpoint,
    target: Path,
    *,
    config: ArrayConfig,
    packing: Packing,
    trace: str,
    with_hex: bool = False,
    progress: Callable[[int], None] = lambda trits: None,
) -> dict:
    """Write a checkpoint as a model folder, which appears whole or not at all.

    Parameters
    ----------
    checkpoint : Checkpoint
    target : Path
        A path that does not exist, an empty folder, or a model folder, which is replaced.
    config : ArrayConfig
        Configuration of the core that the weights are packed for.
    packing : Packing
    trace : str
        Content of `trace.yaml`.
    with_hex : bool
        Write the weights for `$readmemh` too.
    progress : callable
        Called with the number of trits that have been written since.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    InputError
        The target is something else, the disk has too little space, the checkpoint is damaged.
    """
    target = Path(os.path.realpath(target))
    _require_writable(target, checkpoint.path)
    jobs = {
        name: job(config, packing, matrix.k, matrix.n)
        for name, matrix in checkpoint.matrices.items()
    }
    try:
        _require_space(target, _bytes_needed(checkpoint, jobs, with_hex=with_hex))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tritloom-") as scratch:
            fresh = Path(scratch, "new")
            (fresh / WEIGHTS).mkdir(parents=True)
            manifest = _write(checkpoint, fresh, jobs, with_hex=with_hex, progress=progress)
            manifest["packing"] = packing.name
            manifest["array"] = {
                "rows": config.rows,
                "cols": config.cols,
                "lanes": config.lanes,
                "dataflow": str(config.dataflow),
            }
            (fresh / TRACE).write_text(trace, encoding="utf-8")
            _write_json(fresh / MANIFEST, manifest)
            _move(fresh, target, Path(scratch, "old"))
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from None
    return manifest


def _require_writable(target: Path, source: Path) -> None:
    """`InputError` where something else than a model folder would be lost."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is no folder")
    if Path(os.path.realpath(source)).is_relative_to(os.path.realpath(target)):
        raise InputError(f"{target} holds {source}, which it would replace")
    files = {MANIFEST, CONFIG, VOCABULARY, FLOATS, TRACE, WEIGHTS}
    found = {entry.name for entry in target.iterdir()}
    if found and (MANIFEST not in found or found - files):
        raise InputError(f"{target} is neither empty nor a model folder")
    if found:
        read_manifest(target / MANIFEST)
        for entry in (target / WEIGHTS).glob("*"):
            if entry.suffix not in (".bin", ".hex"):
                raise InputError(f"{target} is no model folder: it has {WEIGHTS}/{entry.name}")


def _bytes_needed(checkpoint: Checkpoint, jobs: Mapping[str, Job], *, with_hex: bool) -> int:
    packed = sum(pass_bytes(each) for each in jobs.values())
    floats = sum(tensor.nbytes for tensor in checkpoint.floats.values())
    # A file for $readmemh has two digits a byte, and ends of lines.
    return packed * (4 if with_hex else 1) + floats


def _require_space(target: Path, wanted: int) -> None:
    existing = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < wanted:
        raise InputError(f"{target} needs {wanted:,} bytes, but its disk has {free:,}")


def _write(
    checkpoint: Checkpoint,
    folder: Path,
    jobs: Mapping[str, Job],
    *,
    with_hex: bool,
    progress: Callable[[int], None],
) -> dict:
    """Write all but the manifest, the trace and what the manifest says of the array."""
    manifest: dict = {
        "format": FORMAT,
        "version": VERSION,
        "source": {
            "file": checkpoint.path.resolve().name,
            "sha256": _source_digest(checkpoint),
        },
        "matrices": {},
        "floats": None,
    }
    if checkpoint.config is not None:
        _write_json(folder / CONFIG, checkpoint.config)
    if checkpoint.vocabulary is not None:
        _write_json(folder / VOCABULARY, checkpoint.vocabulary)
    for name, matrix in checkpoint.matrices.items():
        path = folder / WEIGHTS / f"{name}.bin"
        manifest["matrices"][name] = _write_matrix(path, matrix, jobs[name], with_hex=with_hex)
        progress(matrix.n * matrix.k)
    if checkpoint.floats:
        manifest["floats"] = _write_floats(folder / FLOATS, checkpoint.floats)
    return manifest


def _write_matrix(path: Path, matrix: TernaryMatrix, each: Job, *, with_hex: bool) -> dict:
    quantised = matrix.read()
    beats = each.weights(quantised.values)
    content = beats.tobytes()
    path.write_bytes(content)
    if with_hex:
        lines = np.ascontiguousarray(beats[:, ::-1]).tobytes().hex("\n", beats.shape[1])
        path.with_suffix(".hex").write_text(f"{lines}\n")
    size = matrix.n * matrix.k
    return {
        "tensor": matrix.tensor,
        "k": matrix.k,
        "n": matrix.n,
        # The shortest decimal that is this float32.
        "scale": float(str(np.float32(quantised.scale))),
        "zero_share": (size - int(np.count_nonzero(quantised.values))) / size,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _write_floats(path: Path, floats: Mapping[str, FloatTensor]) -> dict:
    """Write tensors as .safetensors, in chunks; returns size and digest of the file."""
    # The format asks for large items first, so that each is aligned to its size.
    order = sorted(floats, key=lambda name: (-np.dtype(DTYPES[floats[name].dtype]).itemsize, name))
    header, end = {}, 0
    for name in order:
        tensor = floats[name]
        offsets = [end, end := end + tensor.nbytes]
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    whole = hashlib.sha256()
    with path.open("wb") as file:

        def put(content: bytes):
            whole.update(content)
            file.write(content)

        put(len(text).to_bytes(8, "little") + text)
        for name in order:
            for chunk in floats[name].chunks():
                with np.errstate(over="ignore"):
                    finite = np.isfinite(chunk.astype(np.float32, copy=False)).all()
                if not finite:
                    raise InputError(f"tensor {name} has values that are not finite in float32")
                put(chunk.tobytes())
        size = file.tell()
    return {"bytes": size, "sha256": whole.hexdigest()}


def _write_json(path: Path, content: object) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _source_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 of a file, or of what `sha256sum` prints for the files of a folder."""
    if not checkpoint.path.is_dir():
        return digest(checkpoint.path)
    lines = [f"{digest(file)}  {file.name}\n" for file in checkpoint.files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _move(fresh: Path, target: Path, aside: Path) -> None:
    if not target.exists():
        fresh.rename(target)
        return
    target.rename(aside)
    try:
        fresh.rename(target)
    except BaseException:
        aside.rename(target)
        raise
