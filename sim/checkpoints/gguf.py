"""BitNets as llama.cpp and bitnet.cpp keep them: one GGUF file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tritloom.arch.errors import InputError
from tritloom.sim.golden.quantise import Quantised, finite_matrix

from .gguf_file import INTEGERS, TERNARY, GgufFile, GgufTensor
from .matrix import sound_file
from .tensors import (
    DTYPES,
    Checkpoint,
    FloatTensor,
    TernaryMatrix,
    float_shapes,
    matrix_shapes,
    require_printable,
    require_shape,
    ternary_shape,
)

# Architecture names, and the activation that the programs which know them compute.
ARCHITECTURES = {"bitnet": "silu", "bitnet-b1.58": "relu2", "bitnet-25": "relu2"}
_KINDS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def read_checkpoint(path: Path, file: GgufFile) -> Checkpoint:
    """The BitNet of a GGUF file whose architecture is one of `ARCHITECTURES`.

    Raises
    ------
    InputError
        Tensors are missing, damaged, or not what the metadata says.
    """
    tensors = {tensor.name: tensor for tensor in file.tensors}
    require_printable(tensors)
    try:
        config = _config(file.metadata, tensors)
        shape = ternary_shape(path.stem, config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    matrices = {}
    for name, known, n, k in matrix_shapes(shape):
        matrices[name] = _matrix(path, tensors, _gguf_name(known), n, k)
    floats = {}
    for name, wanted in float_shapes(shape).items():
        tensor = _take(path, tensors, _gguf_name(name.removesuffix(".weight")) + ".weight")
        label = f"{path}: tensor {tensor.name}"
        require_shape(label, tensor.shape, wanted)
        if tensor.kind in INTEGERS:
            raise InputError(f"{label} must hold floats, not {tensor.kind}")
        floats[name] = FloatTensor(
            dtype=tensor.dtype, shape=tensor.shape, chunks=_chunks(path, tensor)
        )
    for name in tensors:
        raise InputError(f"{path} has the tensor {name}, which is no part of a BitNet")
    return Checkpoint(path=path, files=(path,), matrices=matrices, floats=floats, config=config)


def ternary_matrix(path: Path, tensor: GgufTensor, n: int, k: int, scale=None) -> TernaryMatrix:
    """A matrix out of a tensor whose type is ternary, or whose numbers are -s, 0 and +s."""
    label = f"{path}: tensor {tensor.name}"
    if tensor.kind not in TERNARY and tensor.kind not in DTYPES:
        known = ", ".join((*TERNARY, *DTYPES))
        raise InputError(f"{label} must be of type {known}, not {tensor.kind}")
    require_shape(label, tensor.shape, (n, k))

    def read() -> Quantised:
        with sound_file(path):
            try:
                found = tensor.trits() if tensor.kind in TERNARY else _two_magnitudes(tensor)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            if scale is None:
                return found
            with np.errstate(over="ignore", invalid="ignore"):
                factor = np.asarray(found.scale * scale.numbers().astype(np.float32).reshape(()))
        if not np.isfinite(factor):
            raise InputError(f"{path}: tensor {scale.name} makes the scale {factor}")
        return Quantised(values=found.values, scale=factor)

    return TernaryMatrix(tensor=tensor.name, n=n, k=k, read=read)


def _matrix(path: Path, tensors: dict[str, GgufTensor], name: str, n: int, k: int) -> TernaryMatrix:
    weight, scale = _take(path, tensors, f"{name}.weight"), tensors.pop(f"{name}.scale", None)
    if scale is not None and (scale.kind not in DTYPES or scale.shape != (1,)):
        raise InputError(
            f"{path}: tensor {scale.name} must be one number, not {scale.kind} of {scale.shape}"
        )
    return ternary_matrix(path, weight, n, k, scale)


def _two_magnitudes(tensor: GgufTensor) -> Quantised:
    """Trits of a matrix of -s, 0 and +s, as some converters write it, and the scale s."""
    matrix = finite_matrix(f"tensor {tensor.name}", tensor.numbers())
    scale = np.abs(matrix).max()
    if not ((matrix == 0) | (matrix == scale) | (matrix == -scale)).all():
        raise InputError(
            f"tensor {tensor.name} is not ternary: its magnitudes are more than 0 and {scale}"
        )
    return Quantised(values=np.sign(matrix).astype(np.int8), scale=np.asarray(scale))


def _take(path: Path, tensors: dict[str, GgufTensor], name: str) -> GgufTensor:
    if name not in tensors:
        raise InputError(f"{path} has no tensor {name}, which its metadata calls for")
    return tensors.pop(name)


def _chunks(path: Path, tensor: GgufTensor):
    def chunks() -> Iterator[np.ndarray]:
        with sound_file(path):
            try:
                yield from tensor.chunks()
            except NotImplementedError:
                raise InputError(
                    f"{path}: tensor {tensor.name} is of type {tensor.kind}, "
                    "which gguf cannot dequantise"
                ) from None

    return chunks


def _gguf_name(name: str) -> str:
    """GGUF's name of what is called `name` in Hugging Face's checkpoints, without `.weight`."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    layer, kind = name.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{_KINDS[kind]}"


def _config(metadata: Mapping[str, object], tensors: Mapping[str, GgufTensor]) -> dict[str, object]:
    """The config.json that a model of this metadata and these tensors would have."""
    architecture = str(metadata["general.architecture"])

    def value(key: str, default=None):
        found = metadata.get(f"{architecture}.{key}", default)
        if found is None:
            raise InputError(f"its metadata has no one {architecture}.{key}")
        return found

    def number(key: str, default: float | None = None) -> float:
        found = value(key, default)
        if not isinstance(found, int | float) or not 0 < found < math.inf:
            raise InputError(f"{architecture}.{key} must be a number above 0, not {found!r:.60}")
        # GGUF has float32, config.json decimals: the shortest that is the same float32.
        return float(str(np.float32(found)))

    if number("rope.scaling.factor", 1.0) != 1:
        raise InputError(f"{architecture}.rope.scaling.factor must be 1")
    embedding = tensors.get("token_embd.weight")
    if embedding is None:
        raise InputError("it has no tensor token_embd.weight")
    config = {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "hidden_act": ARCHITECTURES[architecture],
        "hidden_size": value("embedding_length"),
        "intermediate_size": value("feed_forward_length"),
        "num_hidden_layers": value("block_count"),
        "num_attention_heads": value("attention.head_count"),
        "num_key_value_heads": value("attention.head_count_kv", value("attention.head_count")),
        "max_position_embeddings": value("context_length"),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "rope_theta": number("rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in tensors,
        "vocab_size": embedding.shape[0],
    }
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        known = f"{architecture}.{key}" in metadata
        if known and config.setdefault("head_dim", value(key)) != value(key):
            raise InputError(f"{architecture}.{key} must be {config['head_dim']} as well")
    return config
