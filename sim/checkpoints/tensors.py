"""What every kind of checkpoint is read into: ternary matrices and other tensors, read late.

Matrices have names of their own, `layers.{i}.attn.q` and so on for each kind that
`arch.models.shape.ModelShape.linears` lists; all else keeps Hugging Face's names, whatever file it
came from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np

from tritloom.arch.errors import InputError
from tritloom.arch.models.huggingface import model_shape
from tritloom.arch.models.shape import ModelShape
from tritloom.sim.golden.quantise import Quantised

# NumPy's dtypes by the names that safetensors gives them.
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
# Bytes of a tensor that are in memory at a time while it is copied.
CHUNK_BYTES = 1 << 22
# Four times the largest matrix of any published ternary model; a file that claims more is wrong.
MOST_TRITS = 1 << 30
_HF_KINDS = {
    "attn.q": "self_attn.q_proj",
    "attn.k": "self_attn.k_proj",
    "attn.v": "self_attn.v_proj",
    "attn.o": "self_attn.o_proj",
    "ffn.gate": "mlp.gate_proj",
    "ffn.up": "mlp.up_proj",
    "ffn.down": "mlp.down_proj",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TernaryMatrix:
    """One matrix of trits in a file.

    Attributes
    ----------
    tensor : str
        Name of the matrix in the file.
    n, k : int
        Output and input features.
    read : callable
        Returns the trits, int8 of shape (n, k), and the scale that multiplies them. May raise
        `InputError`.
    """

    tensor: str
    n: int
    k: int
    read: Callable[[], Quantised]

    def __post_init__(self):
        if not 0 < self.n * self.k <= MOST_TRITS:
            raise InputError(
                f"{self.tensor} must have 1 to {MOST_TRITS:,} trits, not {self.n} x {self.k}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatTensor:
    """One tensor of floating-point numbers in a file.

    Attributes
    ----------
    dtype : str
        A key of `DTYPES`.
    shape : tuple of int
    chunks : callable
        Returns an iterator of arrays of that dtype, which make up the tensor in C order. May raise
        `InputError`.
    """

    dtype: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[np.ndarray]]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * np.dtype(DTYPES[self.dtype]).itemsize


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A ternary model, or some matrices of one.

    Attributes
    ----------
    path : Path
        The file or folder that it was read from.
    files : tuple of Path
        All files that the checkpoint was read from.
    matrices : mapping of str to TernaryMatrix
    floats : mapping of str to FloatTensor
    config : mapping or None
        Content of Hugging Face's `config.json`; None for matrices without a model.
    vocabulary : list of str or None
        The character of each token id, where a token is a character.
    """

    path: Path
    files: tuple[Path, ...]
    matrices: Mapping[str, TernaryMatrix]
    floats: Mapping[str, FloatTensor] = field(default_factory=dict)
    config: Mapping | None = None
    vocabulary: list[str] | None = None


def ternary_shape(name: str, config: Mapping) -> ModelShape:
    """The dimensions of the BitNet that a config describes.

    Raises
    ------
    InputError
        The config is not sound, or describes another kind of model.
    """
    shape = model_shape(name, config)
    if shape.weight != "ternary" or shape.experts or shape.post_norms or shape.qk_norms:
        raise InputError(f"model_type {config['model_type']!r:.60} describes no BitNet")
    return shape


def matrix_shapes(shape: ModelShape) -> Iterator[tuple[str, str, int, int]]:
    """(name, Hugging Face's name without `.weight`, n, k) of every ternary matrix of a model."""
    for i in range(shape.layers):
        for kind, k, n in shape.linears():
            yield f"layers.{i}.{kind}", f"model.layers.{i}.{_HF_KINDS[kind]}", n, k


def float_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Shape of every other tensor of a model, by Hugging Face's name."""
    hidden = (shape.hidden,)
    wanted = {"model.embed_tokens.weight": (shape.vocab, shape.hidden), "model.norm.weight": hidden}
    if not shape.tied:
        wanted["lm_head.weight"] = (shape.vocab, shape.hidden)
    for i in range(shape.layers):
        layer = f"model.layers.{i}"
        wanted[f"{layer}.input_layernorm.weight"] = hidden
        wanted[f"{layer}.post_attention_layernorm.weight"] = hidden
        if shape.sub_norms:
            wanted[f"{layer}.self_attn.attn_sub_norm.weight"] = (shape.q_features,)
            wanted[f"{layer}.mlp.ffn_sub_norm.weight"] = (shape.ffn,)
    return wanted


def require_shape(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """`InputError` where a tensor's shape is not the one that the config states."""
    if shape != wanted:
        raise InputError(f"{name} must be of shape {wanted} by the config, not {shape}")


def require_printable(names) -> None:
    """`InputError` where a name would spoil a message or a listing."""
    for name in names:
        if not name.isprintable() or not 0 < len(name) <= 256:
            raise InputError(f"no tensor can be named {name!r:.60}")


def first_line(error: Exception) -> str:
    """The first line of an error's message, which may quote a file, or its name without one."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
