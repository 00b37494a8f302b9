"""A small BitNet b1.58 in PyTorch: Hugging Face's block, trained straight through its quantisation.

Names and arithmetic are those of `transformers.models.bitnet`, so that what is trained here loads
there. The quantisation is that of `sim/golden/quantise.py`, in PyTorch, to the last bit.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

EPSILON = 1e-5
TRITS_PER_BYTE = 4


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Size of a decoder; attributes are named as in Hugging Face's config.json."""

    vocab_size: int
    hidden_size: int = 128
    intermediate_size: int = 384
    num_hidden_layers: int = 5
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 512
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Features of one head."""
        return self.hidden_size // self.num_attention_heads


def absmean_trits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Trits of a matrix (float32, -1, 0, +1) and the scale that multiplies them, shape ()."""
    # The mean in float64, so that no order of summation shows in it.
    scale = weight.abs().mean(dtype=torch.float64).float() + EPSILON
    return (weight / scale).round_().clamp_(-1, 1), scale


def absmax_acts(acts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Acts (..., k) as integers in -127 to 127 (float32) and each token's scale (..., 1)."""
    largest = acts.abs().amax(-1, keepdim=True).clamp_(min=EPSILON)
    return (acts * (127 / largest)).round_(), largest / 127


class _StraightThrough(torch.autograd.Function):
    """Straight-through estimator: quantises a value forward, passes the gradient on backward."""

    @staticmethod
    def forward(ctx, value, quantise):
        quantised, scale = quantise(value)
        return quantised.mul_(scale)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class Linear(nn.Linear):
    """A linear without bias; ternary, it trains the weights whose trits it computes with.

    Members
    -------
    ternary : whether to quantise the weights
    stored : whether the weights already are trits times their scale, as read from a checkpoint
    """

    def __init__(self, inputs: int, outputs: int, *, ternary: bool):
        super().__init__(inputs, outputs, bias=False)
        self.ternary = ternary
        self.stored = False

    def forward(self, acts):
        weight = self.weight
        if self.ternary and not self.stored:
            weight = _StraightThrough.apply(weight, absmean_trits)
        return functional.linear(acts, weight)


class _Quantising(nn.Module):
    """A module whose linears share the quantisation of their acts."""

    def __init__(self, *, ternary: bool):
        super().__init__()
        self.ternary = ternary

    def quantised(self, acts):
        return _StraightThrough.apply(acts, absmax_acts) if self.ternary else acts


class Attention(_Quantising):
    """Grouped-query attention, causal, rotary, with a norm before its output projection."""

    def __init__(self, shape: Shape, *, ternary: bool):
        super().__init__(ternary=ternary)
        hidden, self.head_dim = shape.hidden_size, shape.head_dim
        grouped = shape.num_key_value_heads * self.head_dim
        self.grouped = shape.num_key_value_heads != shape.num_attention_heads
        self.q_proj = Linear(hidden, hidden, ternary=ternary)
        self.k_proj = Linear(hidden, grouped, ternary=ternary)
        self.v_proj = Linear(hidden, grouped, ternary=ternary)
        self.o_proj = Linear(hidden, hidden, ternary=ternary)
        self.attn_sub_norm = nn.RMSNorm(hidden, eps=shape.rms_norm_eps)

    def forward(self, acts, cosine, sine):
        acts = self.quantised(acts)
        heads = (*acts.shape[:2], -1, self.head_dim)
        query, key, value = (
            linear(acts).view(heads).transpose(1, 2)
            for linear in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = _rotated(query, cosine, sine), _rotated(key, cosine, sine)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.grouped
        )
        mixed = mixed.transpose(1, 2).flatten(2)
        return self.o_proj(self.quantised(self.attn_sub_norm(mixed)))


class FeedForward(_Quantising):
    """SwiGLU, with a norm before its output projection."""

    def __init__(self, shape: Shape, *, ternary: bool):
        super().__init__(ternary=ternary)
        hidden, inner = shape.hidden_size, shape.intermediate_size
        self.gate_proj = Linear(hidden, inner, ternary=ternary)
        self.up_proj = Linear(hidden, inner, ternary=ternary)
        self.down_proj = Linear(inner, hidden, ternary=ternary)
        self.ffn_sub_norm = nn.RMSNorm(inner, eps=shape.rms_norm_eps)

    def forward(self, acts):
        acts = self.quantised(acts)
        mixed = functional.silu(self.gate_proj(acts)) * self.up_proj(acts)
        return self.down_proj(self.quantised(self.ffn_sub_norm(mixed)))


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, shape: Shape, *, ternary: bool):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.self_attn = Attention(shape, ternary=ternary)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.mlp = FeedForward(shape, ternary=ternary)

    def forward(self, acts, cosine, sine):
        acts = acts + self.self_attn(self.input_layernorm(acts), cosine, sine)
        return acts + self.mlp(self.post_attention_layernorm(acts))


class Decoder(nn.Module):
    """The whole model: token ids, shape (batch, length), to logits (batch, length, vocabulary).

    With `ternary` False its twin of the same size: the same modules on plain float32 linears.
    """

    def __init__(self, shape: Shape, *, ternary: bool):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(
            Block(shape, ternary=ternary) for _ in range(shape.num_hidden_layers)
        )
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        step = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        angles = torch.outer(
            torch.arange(shape.max_position_embeddings).float(), 1 / shape.rope_theta**step
        ).repeat(1, 2)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        for matrix in self.matrices().values():
            nn.init.normal_(matrix.weight, std=0.02)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)

    def matrices(self) -> dict[str, Linear]:
        """Every linear by its name."""
        return {name: part for name, part in self.named_modules() if isinstance(part, Linear)}

    def forward(self, tokens):
        length = tokens.shape[1]
        acts = self.embed_tokens(tokens)
        for layer in self.layers:
            acts = layer(acts, self.cosine[:length], self.sine[:length])
        return functional.linear(self.norm(acts), self.embed_tokens.weight)


def _rotated(heads, cosine, sine):
    """Rotary embedding of the two halves of each head, shape (batch, heads, length, head_dim)."""
    low, high = heads.chunk(2, -1)
    return heads * cosine + torch.cat((-high, low), -1) * sine


def save(model: Decoder, folder: Path) -> None:
    """Write config.json and model.safetensors as Hugging Face's packed BitNet.

    Ternary weights are bytes of four rows a quarter of the matrix apart, lowest bits first, trit
    plus one, beside their `weight_scale`; all else is BF16.
    """
    matrices = model.matrices()
    tensors = {
        f"model.{name}": tensor.bfloat16()
        for name, tensor in model.state_dict().items()
        if name.removesuffix(".weight") not in matrices
    }
    for name, matrix in matrices.items():
        trits, scale = absmean_trits(matrix.weight.detach())
        quarters = (trits + 1).byte().chunk(TRITS_PER_BYTE)
        packed = sum(rows << 2 * place for place, rows in enumerate(quarters))
        tensors[f"model.{name}.weight"] = packed
        tensors[f"model.{name}.weight_scale"] = scale.reshape(1).bfloat16()
    save_file(dict(sorted(tensors.items())), folder / "model.safetensors", {"format": "pt"})
    config = asdict(model.shape) | {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
        },
    }
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> Decoder:
    """The ternary decoder that `save` wrote, with the weights as they are in the file."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Decoder(Shape(**{name: config[name] for name in Shape.__annotations__}), ternary=True)
    tensors = load_file(folder / "model.safetensors")
    for name, matrix in model.matrices().items():
        packed = tensors[f"model.{name}.weight"]
        rows = [(packed >> 2 * place & 3).float() - 1 for place in range(TRITS_PER_BYTE)]
        scale = tensors.pop(f"model.{name}.weight_scale").float()
        tensors[f"model.{name}.weight"] = torch.cat(rows) * scale
        matrix.stored = True
    model.load_state_dict({name.removeprefix("model."): part for name, part in tensors.items()})
    return model
