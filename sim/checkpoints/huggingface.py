"""BitNets as Hugging Face keeps them: a folder of config.json and .safetensors files.

A ternary matrix is packed, four trits in a byte, with its scale beside it, or is a matrix of
ordinary weights that the model quantises by absmean whenever it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open

from tritloom.arch.errors import InputError
from tritloom.arch.files import read_json
from tritloom.sim.golden.quantise import Quantised, absmean_trits, is_ternary

from .matrix import sound_file
from .tensors import (
    CHUNK_BYTES,
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

CONFIG, VOCABULARY = "config.json", "vocabulary.json"
_INDEX, _WHOLE = "model.safetensors.index.json", "model.safetensors"
# The 1bitLLM checkpoints name two norms otherwise.
_OLDER_NAMES = {
    "self_attn.inner_attn_ln.": "self_attn.attn_sub_norm.",
    "mlp.ffn_layernorm.": "mlp.ffn_sub_norm.",
}
# Some checkpoints hold this tensor, which follows from the config.
_DERIVED = "rotary_emb.inv_freq"


def read_checkpoint(path: Path) -> Checkpoint:
    """The BitNet in a folder, or in the one .safetensors file of a folder.

    Raises
    ------
    InputError
        A file is missing, damaged, or not what config.json says.
    """
    folder = path if path.is_dir() else path.parent
    files = _weight_files(folder) if path.is_dir() else {path: None}
    config = read_json(folder / CONFIG)
    if not isinstance(config, Mapping):
        raise InputError(f"{folder / CONFIG} must hold a JSON object, not {config!r:.60}")
    try:
        shape = ternary_shape(folder.resolve().name, config)
        reciprocal = _reciprocal(config)
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from None
    tensors = _open(files)
    matrices = {}
    for name, known, n, k in matrix_shapes(shape):
        matrices[name] = _matrix(path, tensors, known, n, k, reciprocal=reciprocal)
    floats = {}
    for name, wanted in float_shapes(shape).items():
        tensor = _take(path, tensors, name)
        require_shape(f"{path}: tensor {name}", tensor.shape, wanted)
        floats[name] = tensor.floats()
    if shape.tied:
        tensors.pop("lm_head.weight", None)
    for name in tensors:
        if not name.endswith(_DERIVED):
            raise InputError(f"{path} has the tensor {name}, which config.json does not explain")
    return Checkpoint(
        path=path,
        files=(folder / CONFIG, *files) if path.is_dir() else (path,),
        matrices=matrices,
        floats=floats,
        config=config,
        vocabulary=_vocabulary(folder / VOCABULARY, shape.vocab),
    )


class _Tensor:
    """A tensor of an open .safetensors file."""

    def __init__(self, path: Path, file, name: str):
        self.label = f"{path}: tensor {name}"
        self._path, self._file, self.name = path, file, name
        part = file.get_slice(name)
        self.dtype, self.shape = part.get_dtype(), tuple(part.get_shape())

    def read(self) -> np.ndarray:
        with sound_file(self._path):
            return self._file.get_tensor(self.name)

    def floats(self) -> FloatTensor:
        if self.dtype not in DTYPES or not self.shape or 0 in self.shape:
            raise InputError(
                f"{self.label} must hold numbers of {', '.join(DTYPES)}, "
                f"not {self.dtype} of shape {self.shape}"
            )
        return FloatTensor(dtype=self.dtype, shape=self.shape, chunks=self._chunks)

    def _chunks(self) -> Iterator[np.ndarray]:
        row = np.dtype(DTYPES[self.dtype]).itemsize * int(np.prod(self.shape[1:], dtype=object))
        step = max(1, CHUNK_BYTES // row)
        with sound_file(self._path):
            part = self._file.get_slice(self.name)
            for first in range(0, self.shape[0], step):
                yield part[first : min(first + step, self.shape[0])]


def _weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """The weight files of a folder, each with the tensors that an index says it has."""
    if not (folder / _INDEX).is_file():
        if not (folder / _WHOLE).is_file():
            raise InputError(f"{folder} has neither {_WHOLE} nor {_INDEX}")
        return {folder / _WHOLE: None}
    index = read_json(folder / _INDEX)
    listed = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(listed, Mapping) or not listed:
        raise InputError(f"{folder / _INDEX} has no weight_map")
    files: dict[Path, set[str]] = {}
    for tensor, name in listed.items():
        if not isinstance(name, str) or not name or Path(name).name != name or "\0" in name:
            raise InputError(f"{folder / _INDEX} must name files of its folder, not {name!r:.60}")
        files.setdefault(folder / name, set()).add(tensor)
    return dict(sorted(files.items()))


def _open(files: Mapping[Path, set[str] | None]) -> dict[str, _Tensor]:
    """All tensors of the files, by name."""
    found = {}
    for path, listed in files.items():
        with sound_file(path):
            file = safe_open(path, framework="numpy")
            names = file.keys()
            require_printable(names)
            if listed is not None and listed != set(names):
                odd = min(listed ^ set(names))
                verb = "lacks" if odd in listed else "has"
                raise InputError(f"{path} {verb} the tensor {odd!r:.60}, unlike {_INDEX} says")
            for name in names:
                known = name
                for older, newer in _OLDER_NAMES.items():
                    known = known.replace(older, newer)
                if known in found:
                    raise InputError(f"{path} has the tensor {name} a second time")
                found[known] = _Tensor(path, file, name)
    return found


def _take(path: Path, tensors: dict[str, _Tensor], name: str) -> _Tensor:
    if name not in tensors:
        raise InputError(f"{path} has no tensor {name}, which its config.json calls for")
    return tensors.pop(name)


def _reciprocal(config: Mapping) -> bool:
    """Whether `weight_scale` divides: `BitLinear` of `transformers`, which is the default there.

    BitNet's own configs without the key are older than it, and their scale multiplies.
    """
    known = {"bitlinear": True, "autobitlinear": False}
    quantisation = config.get("quantization_config") or {}
    default = "autobitlinear" if config["model_type"] == "bitnet" else "bitlinear"
    linear = quantisation.get("linear_class", default)
    if not isinstance(linear, str) or linear not in known:
        raise InputError(f"linear_class must be {' or '.join(known)}, not {linear!r:.60}")
    return known[linear]


def _matrix(
    path: Path, tensors: dict[str, _Tensor], name: str, n: int, k: int, *, reciprocal: bool
) -> TernaryMatrix:
    weight = _take(path, tensors, f"{name}.weight")
    scale = tensors.pop(f"{name}.weight_scale", None)
    if scale is not None and (scale.dtype not in DTYPES or scale.shape not in ((), (1,))):
        raise InputError(
            f"{scale.label} must be one number, not {scale.dtype} of shape {scale.shape}"
        )
    packed = weight.dtype == "U8"
    if packed and scale is None:
        raise InputError(f"{weight.label} is packed and has no {name}.weight_scale beside it")
    if packed and n % 4:
        raise InputError(f"{weight.label} has {n} output features, which do not pack by four")
    if not packed and weight.dtype not in DTYPES:
        raise InputError(
            f"{weight.label} must be of dtype U8, {', '.join(DTYPES)}, not {weight.dtype}"
        )
    require_shape(weight.label, weight.shape, (n // 4, k) if packed else (n, k))

    def read() -> Quantised:
        if scale is None:
            return _online(weight)
        factor = _scale(scale, reciprocal=reciprocal)
        values = unpack_rows(weight.label, weight.read()) if packed else _ternary(weight)
        return Quantised(values=values, scale=factor)

    return TernaryMatrix(tensor=weight.name, n=n, k=k, read=read)


def unpack_rows(label: str, packed: np.ndarray) -> np.ndarray:
    """Trits (int8, shape (n, k)) of bytes of shape (n / 4, k).

    Byte [r, c] holds the trits of rows r, r + n / 4, r + n / 2 and r + 3 n / 4 in column c, the
    first in its lowest two bits, each as trit + 1.

    Raises
    ------
    InputError
        Names the place of a code 3, which stands for nothing.
    """
    rows, k = packed.shape
    parts = np.empty((4, rows, k), np.int8)
    for i in range(4):
        np.bitwise_and(packed >> np.uint8(2 * i), 3, out=parts[i], casting="unsafe")
    parts -= 1
    trits = parts.reshape(4 * rows, k)
    if (trits > 1).any():
        row, col = np.argwhere(trits > 1)[0]
        raise InputError(f"{label} has the illegal trit code 3 at [{row}, {col}]")
    return trits


def _scale(tensor: _Tensor, *, reciprocal: bool) -> np.ndarray:
    """The scale that multiplies the trits, float32 of shape ()."""
    with np.errstate(divide="ignore", over="ignore"):
        stored = tensor.read().astype(np.float32).reshape(())
        scale = np.float32(1) / stored if reciprocal else stored
    if not np.isfinite(scale):
        raise InputError(f"{tensor.label} is {stored}, which is no scale")
    return np.asarray(scale)


def _ternary(tensor: _Tensor) -> np.ndarray:
    """Trits of a float tensor that has a scale beside it."""
    values = tensor.read()
    if not is_ternary(values):
        raise InputError(f"{tensor.label} has a weight_scale, but other values than -1, 0 and +1")
    return values.astype(np.int8)


def _online(tensor: _Tensor) -> Quantised:
    """Trits of ordinary weights, scaled by their mean magnitude as they are in `transformers`.

    `transformers` raises a mean below 1e-5 to 1e-5, where the paper adds an epsilon to every mean.
    """
    try:
        return absmean_trits(tensor.read(), epsilon=1e-30)
    except InputError as error:
        raise InputError(f"{tensor.label}: {error}") from None


def _vocabulary(path: Path, size: int) -> list[str] | None:
    if not path.is_file():
        return None
    content = read_json(path)
    if (
        not isinstance(content, list)
        or len(content) != size
        or not all(isinstance(entry, str) and len(entry) == 1 for entry in content)
        or len(set(content)) != size
    ):
        raise InputError(
            f"{path} must be a list of {size} different characters, as vocab_size says"
        )
    return content
