"""What is to be computed: a Gemm, and a Trace of named layers built from a model description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import InputError, require_int

PHASES = ("prefill", "decode")
DTYPES = ("ternary", "int8", "fp16")


@dataclass(frozen=True)
class Gemm:
    """Y[m, n] = X[m, k] . W[n, k]^T: m tokens, k input features, n output features."""

    m: int
    k: int
    n: int

    def __post_init__(self):
        for name in ("m", "k", "n"):
            require_int(name, getattr(self, name))

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.k * self.n


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One matrix product of a model, `count` times in a pass.

    Attributes
    ----------
    name : str
        Such as "attn.q"; the same in every block.
    gemm : Gemm
    count : int
        Occurrences in one pass through the model (blocks, times heads and sequences where the
        product is per head).
    weight, act : str
        Dtypes of the two operands: "ternary", "int8" or "fp16".
    stationary : bool
        True where the n x k operand is a trained weight, False where it is made at run time
        (keys and values).
    """

    name: str
    gemm: Gemm
    count: int
    weight: str
    act: str
    stationary: bool = True

    def __post_init__(self):
        require_int("count", self.count)
        for role in ("weight", "act"):
            if getattr(self, role) not in DTYPES:
                raise InputError(f"{role} dtype must be one of {DTYPES}, not {getattr(self, role)}")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all occurrences."""
        return self.gemm.macs * self.count

    @property
    def scaled(self) -> bool:
        """Whether the product's operands and outputs carry quantisation scales."""
        return self.weight == "ternary"


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Dimensions of a decoder-only transformer.

    Attributes
    ----------
    name : str
    hidden, ffn, layers, heads, kv_heads, vocab : int
    gated : bool
        True: gate, up and down projections (SwiGLU). False: up and down only (GPT).
    source : str
        Where the dimensions are published, or "INFERRED: why".
    """

    name: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    vocab: int
    source: str
    kv_heads: int | None = None
    gated: bool = True

    def __post_init__(self):
        if self.kv_heads is None:
            object.__setattr__(self, "kv_heads", self.heads)
        for name in ("hidden", "ffn", "layers", "heads", "kv_heads", "vocab"):
            require_int(name, getattr(self, name))
        if self.hidden % self.heads:
            raise InputError(f"heads must divide hidden = {self.hidden}, not {self.heads}")
        if self.heads % self.kv_heads:
            raise InputError(f"kv_heads must divide heads = {self.heads}, not {self.kv_heads}")

    @property
    def inferred(self) -> bool:
        """Whether the dimensions are a guess rather than published."""
        return self.source.startswith("INFERRED")

    @property
    def head_dim(self) -> int:
        """Features of one attention head."""
        return self.hidden // self.heads

    @property
    def kv_features(self) -> int:
        """Features of the keys (and of the values) of one token in one block."""
        return self.kv_heads * self.head_dim

    def linears(self) -> Iterator[tuple[str, int, int]]:
        """(name, k, n) of each weight matrix of one block."""
        h, f, kv = self.hidden, self.ffn, self.kv_features
        yield "attn.q", h, h
        yield "attn.k", h, kv
        yield "attn.v", h, kv
        yield "attn.o", h, h
        if self.gated:
            yield "ffn.gate", h, f
        yield "ffn.up", h, f
        yield "ffn.down", f, h

    @property
    def block_weights(self) -> int:
        """Weights of the matrices of all blocks; norms are left out (less than 0.1 per mille)."""
        return self.layers * sum(k * n for _, k, n in self.linears())

    @property
    def embedding_weights(self) -> int:
        """Weights of the input embedding and of the untied output head."""
        return 2 * self.vocab * self.hidden


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The matrix products of one pass: a whole prompt (prefill) or one token a sequence (decode).

    Attributes
    ----------
    name : str
    phase : str
        "prefill" or "decode".
    tokens : int
        Tokens the pass produces or consumes, over all sequences.
    layers : tuple of Layer
    """

    name: str
    phase: str
    tokens: int
    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the pass."""
        return sum(layer.macs for layer in self.layers)


def build_trace(
    model: ModelShape,
    *,
    weight: str,
    phase: str = "prefill",
    batch: int = 1,
    context: int = 512,
    head: bool = True,
) -> Trace:
    """The trace of one pass through `model`.

    Parameters
    ----------
    weight : "ternary" or "fp16"
        Dtype of the block's weight matrices. Ternary layers take int8 acts; attention and the
        output head stay in FP16, as in BitNet b1.58.
    phase : "prefill" or "decode"
        Prefill runs `context` tokens of each sequence at once, attention over all of them (full,
        not causal: a systolic array computes the masked half too). Decode runs one token of each
        sequence against `context` cached tokens.
    batch, context : int
    head : bool
        Whether the output head is part of the trace; prefill needs its last token only.

    Raises
    ------
    InputError
    """
    require_int("batch", batch)
    require_int("context", context)
    if phase not in PHASES:
        raise InputError(f"phase must be one of {', '.join(PHASES)}, not {phase!r}")
    if weight not in ("ternary", "fp16"):
        raise InputError(f"weight must be ternary or fp16, not {weight!r}")
    act = "int8" if weight == "ternary" else "fp16"
    queries = context if phase == "prefill" else 1
    tokens = batch * queries
    layers = [
        Layer(name=name, gemm=Gemm(tokens, k, n), count=model.layers, weight=weight, act=act)
        for name, k, n in model.linears()
    ]
    heads = model.layers * batch * model.heads
    for name, k, n in (("attn.qk", model.head_dim, context), ("attn.av", context, model.head_dim)):
        gemm = Gemm(queries, k, n)
        layers.append(
            Layer(name=name, gemm=gemm, count=heads, weight="fp16", act="fp16", stationary=False)
        )
    if head:
        gemm = Gemm(batch, model.hidden, model.vocab)
        layers.append(Layer(name="lm_head", gemm=gemm, count=1, weight="fp16", act="fp16"))
    return Trace(name=model.name, phase=phase, tokens=tokens, layers=tuple(layers))
