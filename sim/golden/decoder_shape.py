"""Dimensions and constants of a BitNet decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tritloom.arch.errors import InputError, require_int
from tritloom.arch.models.huggingface import model_shape, norm_epsilon, rope_theta
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import MAX_CONTEXT


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def _relu2(x: np.ndarray) -> np.ndarray:
    return np.square(np.maximum(x, 0))


ACTIVATIONS = {"silu": _silu, "relu2": _relu2}


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """Dimensions and constants of a BitNet decoder.

    Attributes
    ----------
    hidden, ffn, layers, heads, kv_heads, head_dim, vocab : int
        As in `arch.models.shape.ModelShape`; head_dim is even.
    rope_theta : float
        Base of the rotary embedding.
    norm_epsilon : float
        What RMSNorm adds to the mean of the squares.
    activation : "silu" or "relu2"
        Activation of the gated feed-forward: SwiGLU, or squared ReLU.
    tied : bool
        Whether the output head is the input embedding.
    max_context : int
        Most tokens in the KV cache.
    """

    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    rope_theta: float
    norm_epsilon: float
    activation: str
    tied: bool
    max_context: int

    def __post_init__(self):
        require_int("max_context", self.max_context, high=MAX_CONTEXT)
        if self.activation not in ACTIVATIONS:
            known = " or ".join(ACTIVATIONS)
            raise InputError(f"activation must be {known}, not {self.activation!r}")
        for name in ("rope_theta", "norm_epsilon"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be above 0 and finite, not {getattr(self, name)!r}")
        if self.model.head_dim % 2:
            raise InputError(f"head_dim must be even, not {self.head_dim}")

    @classmethod
    def from_config(cls, config: Mapping) -> DecoderShape:
        """The decoder that the content of a `config.json` of Hugging Face's BitNet describes.

        Raises
        ------
        InputError
            Names the key that is missing or wrong, or asks for what this decoder does not compute.
        """
        model = model_shape("decoder", config)
        if config["model_type"] != "bitnet":
            raise InputError(f"model_type must be bitnet, not {config['model_type']!r}")
        if model.max_context is None:
            raise InputError("has no max_position_embeddings")
        quantisation = config.get("quantization_config") or {}
        for name, asked in (
            ("a bias", model.biases),
            ("a sliding window", model.window),
            ("a soft cap", model.capped),
            ("a norm inside its linear layers", quantisation.get("use_rms_norm")),
        ):
            if asked:
                raise InputError(f"asks for {name}, which this decoder does not have")
        return cls(
            hidden=model.hidden,
            ffn=model.ffn,
            layers=model.layers,
            heads=model.heads,
            kv_heads=model.kv_heads,
            head_dim=model.head_dim,
            vocab=model.vocab,
            rope_theta=rope_theta(config),
            norm_epsilon=norm_epsilon(config),
            activation=model.activation,
            tied=model.tied,
            max_context=model.max_context,
        )

    @cached_property
    def model(self) -> ModelShape:
        """The dimensions as `arch.models.trace` takes them."""
        return ModelShape(
            name="decoder",
            hidden=self.hidden,
            ffn=self.ffn,
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            vocab=self.vocab,
            activation=self.activation,
            tied=self.tied,
            max_context=self.max_context,
            sub_norms=True,
            source="a decoder's shape",
        )

    def matrices(self) -> dict[str, tuple[int, int]]:
        """(k, n) of each ternary matrix by its name, in the order of execution."""
        return {
            f"layers.{layer}.{kind}": (k, n)
            for layer in range(self.layers)
            for kind, k, n in self.model.linears()
        }

    def floats(self) -> dict[str, tuple[int, ...]]:
        """Shape of each float tensor by the name that Hugging Face gives it."""
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab, self.hidden)
        }
        for layer in range(self.layers):
            for norm, width in (
                ("input_layernorm", self.hidden),
                ("self_attn.attn_sub_norm", self.model.q_features),
                ("post_attention_layernorm", self.hidden),
                ("mlp.ffn_sub_norm", self.ffn),
            ):
                shapes[f"model.layers.{layer}.{norm}.weight"] = (width,)
        shapes["model.norm.weight"] = (self.hidden,)
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab, self.hidden)
        return shapes
