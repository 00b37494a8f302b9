"""Models described by the `config.json` of a Hugging Face checkpoint.

Keys are those of the configuration classes of `transformers`, and so are the defaults of those that
published configs leave out. All other keys must be there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from tritloom.arch.errors import InputError, require_int
from tritloom.arch.files import read_json

from .shape import ModelShape

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}
_QKV = ("attn.q", "attn.k", "attn.v")


@dataclass(frozen=True, kw_only=True)
class _Family:
    """What the configs of a model type leave unsaid.

    Attributes
    ----------
    defaults : mapping
        Values of keys that published configs leave out.
    biases : tuple of str
        Weight matrices with a bias, whatever the config says.
    experts : str or None
        Key of the number of experts, where there are any.
    gemma, post_norms, qk_norms, sub_norms : bool
        Traits of the architecture; the norms as in `ModelShape`.
    """

    defaults: Mapping[str, object] = field(default_factory=dict)
    biases: tuple[str, ...] = ()
    experts: str | None = None
    gemma: bool = False
    post_norms: bool = False
    qk_norms: bool = False
    sub_norms: bool = False


_GEMMA = {
    "tie_word_embeddings": True,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
}
_GEMMA2 = {
    "sliding_window": 4096,
    "sliding_window_pattern": 2,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}
_GEMMA3 = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
_QWEN = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_QWEN_MOE = _QWEN | {"decoder_sparse_step": 1, "mlp_only_layers": []}
FAMILIES = {
    # The first LLaMA configs knew no groups of query heads.
    "llama": _Family(defaults={"num_key_value_heads": None}),
    "mistral": _Family(defaults={"sliding_window": 4096, "num_key_value_heads": 8}),
    "mixtral": _Family(
        experts="num_local_experts",
        defaults={"num_local_experts": 8, "num_experts_per_tok": 2, "num_key_value_heads": 8},
    ),
    "qwen2": _Family(defaults=_QWEN, biases=_QKV),
    "qwen2_moe": _Family(
        experts="num_experts",
        defaults=_QWEN_MOE
        | {
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
        },
        biases=_QKV,
    ),
    "qwen3": _Family(defaults=_QWEN | {"head_dim": 128}, qk_norms=True),
    "qwen3_moe": _Family(
        experts="num_experts",
        defaults=_QWEN_MOE
        | {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
        qk_norms=True,
    ),
    "gemma": _Family(defaults=_GEMMA, gemma=True),
    "gemma2": _Family(defaults=_GEMMA | _GEMMA2, gemma=True, post_norms=True),
    "gemma3_text": _Family(defaults=_GEMMA | _GEMMA3, gemma=True, post_norms=True, qk_norms=True),
    "bitnet": _Family(defaults={"hidden_act": "relu2"}, sub_norms=True),
}


def read_config(path: Path) -> ModelShape:
    """The model that a `config.json`, or a folder with one, describes.

    Its `weight` is ternary where the checkpoint is a BitNet (model type, architecture or
    quantisation method), else FP16: of other quantised checkpoints the shape is read alone.

    Raises
    ------
    InputError
        Names the file, and the key where one is missing, wrong or unknown.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "config.json"
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path} must hold a JSON object, not {content!r:.60}")
    try:
        return model_shape(name, content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@dataclass(frozen=True)
class _Config:
    """A config and the defaults of its family; every value is checked as it is read."""

    content: Mapping
    defaults: Mapping

    def value(self, key: str) -> object:
        return self.content[key] if key in self.content else self.defaults.get(key)

    def size(self, key: str, *, low: int = 1, high: int = 1 << 32) -> int:
        value = self.value(key)
        if value is None:
            raise InputError(f"has no {key}")
        return require_int(key, value, low=low, high=high)

    def size_or_none(self, key: str, *, required: bool = False) -> int | None:
        if required and key not in self.content and key not in self.defaults:
            raise InputError(f"has no {key}")
        return None if self.value(key) is None else self.size(key)

    def number(self, key: str) -> float:
        value = self.value(key)
        if value is None:
            raise InputError(f"has no {key}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{key} must be a number, not {value!r:.60}")
        if not 0 < value < math.inf:
            raise InputError(f"{key} must be above 0 and finite, not {value!r:.60}")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self.value(key)
        if value is not None and not isinstance(value, bool):
            raise InputError(f"{key} must be true or false, not {value!r:.60}")
        return bool(value)

    def items(self, key: str) -> list:
        value = self.value(key)
        if value is not None and not isinstance(value, list):
            raise InputError(f"{key} must be a list, not {value!r:.60}")
        return value or []


def model_shape(name: str, content: Mapping) -> ModelShape:
    """The model of that name that the content of a `config.json` describes.

    Raises
    ------
    InputError
        Names the key that is missing, wrong or unknown.
    """
    model_type, content = _text_part(content)
    family = FAMILIES[model_type]
    architectures = _Config(content, {}).items("architectures")
    older_bitnet = any(str(a).lower().startswith("bitnet") for a in architectures)
    config = _Config(content, family.defaults)
    layers = config.size("num_hidden_layers", high=1 << 16)
    window, windowed = _window(config, layers)
    biases = family.biases
    if config.flag("attention_bias"):
        biases = (*_QKV, "attn.o")
    elif "qkv_bias" in content:
        biases = _QKV if config.flag("qkv_bias") else ()
    if config.flag("mlp_bias"):
        biases += ("ffn.gate", "ffn.up", "ffn.down")
    caps = {"attn.qk": "attn_logit_softcapping", "lm_head": "final_logit_softcapping"}
    return ModelShape(
        name=name,
        hidden=config.size("hidden_size"),
        ffn=config.size("intermediate_size"),
        layers=layers,
        heads=config.size("num_attention_heads"),
        kv_heads=config.size_or_none("num_key_value_heads", required=True),
        head_dim=config.size_or_none("head_dim"),
        vocab=config.size("vocab_size"),
        tied=config.flag("tie_word_embeddings"),
        weight=_weight(model_type, content, older_bitnet),
        activation=_activation(config),
        window=window,
        windowed_layers=windowed,
        max_context=config.size_or_none("max_position_embeddings"),
        biases=biases,
        capped=tuple(product for product, key in caps.items() if config.value(key) is not None),
        post_norms=family.post_norms,
        qk_norms=family.qk_norms,
        sub_norms=family.sub_norms or older_bitnet,
        embedding_scaled=family.gemma,
        source=f"config.json of {name}, model type {model_type}",
        **_experts(config, family.experts, layers),
    )


def norm_epsilon(content: Mapping) -> float:
    """What RMSNorm adds to the mean of the squares; `InputError` where there is none."""
    return _Config(content, {}).number("rms_norm_eps")


def rope_theta(content: Mapping) -> float:
    """Base of the rotary embedding, from either place where `transformers` writes it.

    Raises
    ------
    InputError
        None there, or frequencies that are scaled: only the plain embedding is known.
    """
    key = "rope_scaling" if content.get("rope_scaling") else "rope_parameters"
    rope = content.get(key) or {}
    if not isinstance(rope, Mapping):
        raise InputError(f"{key} must be an object, not {rope!r:.60}")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise InputError(f"{key} must be of rope_type default, not {kind!r:.60}")
    return _Config(rope, content).number("rope_theta")


def _text_part(content: Mapping) -> tuple[str, Mapping]:
    """Model type and config of the language model, which is nested where a model has eyes too."""
    model_type = content.get("model_type")
    if model_type is None:
        raise InputError("has no model_type")
    if model_type == "gemma3":
        nested = content.get("text_config")
        if not isinstance(nested, Mapping):
            raise InputError(f"text_config must be an object, not {nested!r:.60}")
        return "gemma3_text", nested
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        known = ", ".join(sorted([*FAMILIES, "gemma3"]))
        raise InputError(f"model_type must be one of {known}, not {model_type!r:.60}")
    return model_type, content


def _weight(model_type: str, content: Mapping, older_bitnet: bool) -> str:
    quantisation = content.get("quantization_config") or {}
    if not isinstance(quantisation, Mapping):
        raise InputError(f"quantization_config must be an object, not {quantisation!r:.60}")
    bitnet = older_bitnet or "bitnet" in (model_type, quantisation.get("quant_method"))
    return "ternary" if bitnet else "fp16"


def _activation(config: _Config) -> str:
    # Gemma's own key is the stronger one.
    keys = [key for key in ("hidden_activation", "hidden_act") if config.value(key) is not None]
    if not keys:
        raise InputError("has no hidden_act")
    value = config.value(keys[0])
    if not isinstance(value, str) or value not in _ACTIVATIONS:
        raise InputError(f"{keys[0]} must be one of {', '.join(_ACTIVATIONS)}, not {value!r:.60}")
    return _ACTIVATIONS[value]


def _window(config: _Config, layers: int) -> tuple[int | None, int]:
    """The attention's window and how many blocks have it."""
    window = config.size_or_none("sliding_window")
    if window is None or (
        config.value("use_sliding_window") is not None and not config.flag("use_sliding_window")
    ):
        return None, 0
    windowed = layers
    if types := config.items("layer_types"):
        for i, kind in enumerate(types):
            if kind not in ("full_attention", "sliding_attention"):
                raise InputError(
                    f"layer_types[{i}] must be full_attention or sliding_attention, "
                    f"not {kind!r:.60}"
                )
        if len(types) != layers:
            raise InputError(f"layer_types must have {layers} entries, not {len(types)}")
        windowed = types.count("sliding_attention")
    elif config.value("sliding_window_pattern") is not None:
        pattern = config.size("sliding_window_pattern")
        windowed = layers - layers // pattern
    elif config.value("max_window_layers") is not None:
        windowed = max(0, layers - config.size("max_window_layers", low=0))
    return (window, windowed) if windowed else (None, 0)


class _Experts(TypedDict, total=False):
    """Keywords of `ModelShape` that describe a mixture of experts."""

    experts: int
    experts_per_token: int
    expert_ffn: int
    shared_ffn: int
    dense_layers: int


def _experts(config: _Config, key: str | None, layers: int) -> _Experts:
    """The mixture of experts of a family whose configs have that key; nothing without one."""
    if key is None:
        return {}
    found: _Experts = {
        "experts": config.size(key),
        "experts_per_token": config.size("num_experts_per_tok"),
    }
    if config.value("moe_intermediate_size") is None:
        return found
    step = config.size("decoder_sparse_step")
    dense = {require_int("mlp_only_layers", i, low=0) for i in config.items("mlp_only_layers")}
    routed = sum((i + 1) % step == 0 and i not in dense for i in range(layers))
    shared = "shared_expert_intermediate_size"
    return found | {
        "expert_ffn": config.size("moe_intermediate_size"),
        "shared_ffn": 0 if config.value(shared) is None else config.size(shared, low=0),
        "dense_layers": layers - routed,
    }
