"""`python -m sim import`: a checkpoint into a model folder, with its trace and a summary."""

from __future__ import annotations

import json
from pathlib import Path

from tritloom.arch.config import ArrayConfig
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import Packing
from tritloom.console import progress
from tritloom.sim.energy import decode_trace

from .read import open_checkpoint
from .tensors import Checkpoint
from .write import write_folder


def import_model(
    source: Path,
    target: Path,
    *,
    config: ArrayConfig,
    packing: Packing,
    tensor: str | None = None,
    with_hex: bool = False,
) -> dict:
    """Read a checkpoint, write a model folder, print a summary.

    Parameters
    ----------
    source : Path
        A folder of Hugging Face's, or a .gguf, .safetensors or .npy file: docs/import.md.
    target : Path
        The folder to write.
    config : ArrayConfig
        The array whose weight stream the matrices are packed for.
    packing : Packing
        `TRIT2` or `TRIT5`.
    tensor : str, optional
        The one matrix to take out of a file, by the name that the file gives it.
    with_hex : bool
        Whether the weights are written for `$readmemh` too.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    InputError
        The checkpoint is damaged or of an unknown kind; nothing has been written then.
    """
    name = source.resolve().name
    if not name.isprintable() or not name:
        raise InputError(f"{name!r:.60} is no name for a model: rename the file")
    checkpoint = open_checkpoint(source, tensor)
    total = sum(matrix.n * matrix.k for matrix in checkpoint.matrices.values())
    with progress.bar("packing", total, "trits") as advance:
        manifest = write_folder(
            checkpoint,
            target,
            config=config,
            packing=packing,
            trace=trace_yaml(checkpoint),
            with_hex=with_hex,
            progress=advance,
        )
    for what, figure in summary(manifest, len(checkpoint.floats)):
        print(f"{what:<8}  {figure}")
    return manifest


def summary(manifest: dict, floats: int) -> list[tuple[str, str]]:
    """(what, figure) pairs of the summary."""
    matrices, array = manifest["matrices"].values(), manifest["array"]
    trits = sum(entry["n"] * entry["k"] for entry in matrices)
    zeros = sum(round(entry["zero_share"] * entry["n"] * entry["k"]) for entry in matrices)
    packed = sum(entry["bytes"] for entry in matrices)
    shape = "x".join(str(array[key]) for key in ("rows", "cols", "lanes"))
    rows = [
        ("source", manifest["source"]["file"]),
        ("matrices", f"{len(matrices):,}, {trits:,} trits, {zeros / trits:.1%} of them zero"),
        (
            "weights",
            f"{packed:,} bytes, {manifest['packing']}, {8 * packed / trits:.4f} bit a trit, "
            f"for {shape} {array['dataflow']}",
        ),
    ]
    if floats:
        rows.append(("floats", f"{manifest['floats']['bytes']:,} bytes, {floats:,} tensors"))
    return rows


def trace_yaml(checkpoint: Checkpoint) -> str:
    """A trace file of what decoding one token computes: docs/models.md."""
    path = checkpoint.path.resolve()
    name = path.name if path.is_dir() else path.stem
    if checkpoint.config is None:
        head = {"name": name, "phase": "decode", "tokens": 1}
        lines = ["# Matrix products of one token: docs/models.md."]
        # A value of JSON is one of YAML.
        lines += [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
        lines.append("layers:")
        for layer, matrix in checkpoint.matrices.items():
            entry = {"name": layer, "m": 1, "k": matrix.k, "n": matrix.n}
            entry |= {"count": 1, "weight": "ternary", "act": "int8"}
            lines.append(f"  - {json.dumps(entry)}")
        return "\n".join(lines) + "\n"
    try:
        return decode_trace(name, checkpoint.config)
    except InputError as error:
        raise InputError(f"no trace can be made of {checkpoint.path}: {error}") from None
