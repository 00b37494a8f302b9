"""Opens ternary checkpoints of any kind that is read here: docs/import.md lists them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tritloom.arch.errors import InputError
from tritloom.sim.golden.quantise import to_trits

from . import gguf as gguf_checkpoint
from . import huggingface as hf_checkpoint
from .gguf_file import TERNARY, GgufFile
from .matrix import choose_tensor, load_named_matrix, sound_file
from .tensors import Checkpoint, TernaryMatrix


def open_checkpoint(path: str | Path, tensor: str | None = None) -> Checkpoint:
    """Open a checkpoint: a whole model, or one matrix of a file.

    Parameters
    ----------
    path
        A folder of Hugging Face's, or its .safetensors file; a .gguf file of a BitNet. Any other
        .safetensors or .gguf file, and a .npy file, is taken as a file of matrices.
    tensor : str, optional
        Name that the file gives the wanted matrix; it may be left out where the file has only one.

    Returns
    -------
    Checkpoint
        A whole model, or one matrix without a config. Trits of the one matrix are taken as they
        are, other weights are quantised by absmean.

    Raises
    ------
    InputError
        The path is no such file or folder, is damaged, or contradicts itself.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        whole = hf_checkpoint.read_checkpoint(path)
        return whole if tensor is None else _one(whole, tensor)
    suffix = path.suffix.lower()
    if suffix == ".gguf":
        return _read_gguf(path, tensor)
    if (
        suffix == ".safetensors"
        and tensor is None
        and (path.parent / hf_checkpoint.CONFIG).exists()
    ):
        return hf_checkpoint.read_checkpoint(path)
    return _read_matrix(path, tensor)


def _one(whole: Checkpoint, tensor: str) -> Checkpoint:
    found = {name: part for name, part in whole.matrices.items() if part.tensor == tensor}
    if not found:
        raise InputError(f"{whole.path} has no ternary matrix {tensor!r:.60}")
    return replace(whole, matrices=found, floats={}, config=None, vocabulary=None)


def _read_gguf(path: Path, tensor: str | None) -> Checkpoint:
    with sound_file(path):
        file = GgufFile(path)
        architecture = file.metadata.get("general.architecture")
        if tensor is None and architecture in gguf_checkpoint.ARCHITECTURES:
            return gguf_checkpoint.read_checkpoint(path, file)
        tensors = {part.name: part for part in file.tensors}
        name = choose_tensor(path, {name: part.shape for name, part in tensors.items()}, tensor)
        chosen = tensors[name]
        if chosen.kind not in TERNARY or len(chosen.shape) != 2:
            return _read_matrix(path, name)
        matrix = gguf_checkpoint.ternary_matrix(path, chosen, *chosen.shape)
        return Checkpoint(path=path, files=(path,), matrices={_file_name(name): matrix})


def _read_matrix(path: Path, tensor: str | None) -> Checkpoint:
    name, weights = load_named_matrix(path, tensor)
    quantised = to_trits(weights)
    n, k = weights.shape
    matrix = TernaryMatrix(tensor=name, n=n, k=k, read=lambda: quantised)
    return Checkpoint(path=path, files=(path,), matrices={_file_name(name): matrix})


def _file_name(name: str) -> str:
    """A tensor's name with underscores for whatever has no place in a file's name."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return kept.strip(".")[:100] or "matrix"
