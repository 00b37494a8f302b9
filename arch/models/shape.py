"""The dimensions of a decoder-only transformer, and what of it is trained.

Known models are in `arch.models.known`, those of a config file in `arch.models.huggingface`, a pass
in `arch.models.trace`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tritloom.arch.errors import InputError, require_int, require_one_of
from tritloom.arch.fields import UnlessStated, default, stated
from tritloom.arch.workload import ACTIVATIONS, BLOCK_DTYPES


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Dimensions of a decoder-only transformer.

    Attributes
    ----------
    name : str
    hidden, ffn, layers, heads, kv_heads, vocab : int
        `ffn` is the width of the dense feed-forward; a model of experts alone has none of it.
    source : str
        Where the dimensions are published, or "INFERRED: why".
    gated : bool
        True: gate, up and down projections (SwiGLU). False: up and down only (GPT).
    head_dim : int
        Features of one attention head; hidden / heads unless stated.
    tied : bool
        Whether the output head is the input embedding.
    weight : "ternary" or "fp16"
        What the released checkpoint's block weights are; a trace may take either.
    activation : str
        One of `ACTIVATIONS`.
    experts, experts_per_token : int
        Experts of a block with a mixture of them, and how many a token takes; 0 without.
    expert_ffn, shared_ffn : int
        Width of an expert, `ffn` unless stated, and of the expert that every token takes (0: none),
        whose output a gate of its own scales.
    dense_layers : int
        Blocks with a dense feed-forward: all without experts, none with experts unless stated.
    window : int or None
        Tokens that the attention of `windowed_layers` blocks (all unless stated) looks back on.
    max_context : int or None
        Tokens that the model was made for.
    biases : tuple of str
        Names of the weight matrices with a bias, of attention and of dense feed-forwards.
    capped : tuple of str
        Products whose outputs are soft-capped: "attn.qk", "lm_head".
    post_norms, qk_norms, sub_norms : bool
        Norms besides the two of each block: after attention and feed-forward (Gemma 2); of each
        query and key head (Qwen 3); before the output and the down projection (BitNet).
    embedding_scaled : bool
        Whether embeddings are multiplied by a constant (Gemma).
    """

    name: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    vocab: int
    source: str
    kv_heads: UnlessStated = UnlessStated()
    gated: bool = True
    head_dim: UnlessStated = UnlessStated()
    tied: bool = False
    weight: str = "ternary"
    activation: str = "silu"
    experts: int = 0
    experts_per_token: int = 0
    expert_ffn: UnlessStated = UnlessStated()
    shared_ffn: int = 0
    dense_layers: UnlessStated = UnlessStated()
    window: int | None = None
    windowed_layers: UnlessStated = UnlessStated()
    max_context: int | None = None
    biases: tuple[str, ...] = ()
    capped: tuple[str, ...] = ()
    post_norms: bool = False
    qk_norms: bool = False
    sub_norms: bool = False
    embedding_scaled: bool = False

    def __post_init__(self):
        default(self, "kv_heads", self.heads)
        for name in ("hidden", "ffn", "layers", "heads", "kv_heads", "vocab"):
            require_int(name, getattr(self, name))
        if not stated(self, "head_dim") and self.hidden % self.heads:
            raise InputError(f"heads must divide hidden = {self.hidden}, not {self.heads}")
        default(self, "head_dim", self.hidden // self.heads)
        if self.heads % self.kv_heads:
            raise InputError(f"kv_heads must divide heads = {self.heads}, not {self.kv_heads}")
        default(self, "expert_ffn", self.ffn)
        default(self, "dense_layers", 0 if self.experts else self.layers)
        default(self, "windowed_layers", self.layers if self.window else 0)
        for name in ("head_dim", "expert_ffn"):
            require_int(name, getattr(self, name))
        for name in ("window", "max_context"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name))
        for name in ("experts", "shared_ffn"):
            require_int(name, getattr(self, name), low=0)
        require_int(
            "experts_per_token",
            self.experts_per_token,
            low=1 if self.experts else 0,
            high=self.experts,
        )
        require_int(
            "dense_layers",
            self.dense_layers,
            low=0 if self.experts else self.layers,
            high=self.layers,
        )
        require_int(
            "windowed_layers", self.windowed_layers, low=0, high=self.layers if self.window else 0
        )
        require_one_of("activation", self.activation, ACTIVATIONS)
        if self.weight not in BLOCK_DTYPES:
            raise InputError(f"weight must be ternary or fp16, not {self.weight!r}")
        linears = [name for name, _, _ in self.linears() if name.startswith(("attn.", "ffn."))]
        for role, known in (("biases", linears), ("capped", ["attn.qk", "lm_head"])):
            for name in getattr(self, role):
                if name not in known:
                    raise InputError(f"{role} must be among {', '.join(known)}, not {name!r}")

    @property
    def inferred(self) -> bool:
        """Whether the dimensions are a guess rather than published."""
        return self.source.startswith("INFERRED")

    @property
    def q_features(self) -> int:
        """Features of the queries of one token in one block."""
        return self.heads * self.head_dim

    @property
    def kv_features(self) -> int:
        """Features of the keys (and of the values) of one token in one block."""
        return self.kv_heads * self.head_dim

    @property
    def expert_layers(self) -> int:
        """Blocks with a mixture of experts."""
        return self.layers - self.dense_layers

    def feed_forwards(self) -> Iterator[tuple[str, int, int]]:
        """(prefix of its names, width, how many the model has) of each kind of feed-forward."""
        if self.dense_layers:
            yield "ffn", self.ffn, self.dense_layers
        if self.expert_layers:
            yield "expert", self.expert_ffn, self.expert_layers * self.experts
        if self.expert_layers and self.shared_ffn:
            yield "shared", self.shared_ffn, self.expert_layers

    def linears(self) -> Iterator[tuple[str, int, int]]:
        """(name, k, n) of each kind of weight matrix of the blocks; `matrices` says how many."""
        h = self.hidden
        yield "attn.q", h, self.q_features
        yield "attn.k", h, self.kv_features
        yield "attn.v", h, self.kv_features
        yield "attn.o", self.q_features, h
        if self.expert_layers:
            yield "router", h, self.experts
        for prefix, width, _ in self.feed_forwards():
            if prefix == "shared":
                yield "shared.router", h, 1
            if self.gated:
                yield f"{prefix}.gate", h, width
            yield f"{prefix}.up", h, width
            yield f"{prefix}.down", width, h

    def matrices(self, name: str) -> int:
        """How many weight matrices of that name the blocks have together."""
        prefix, _, last = name.partition(".")
        if prefix == "attn":
            return self.layers
        if "router" in (prefix, last):
            return self.expert_layers
        return {kind: count for kind, _, count in self.feed_forwards()}[prefix]

    @property
    def block_weights(self) -> int:
        """Weights of the matrices of all blocks; norms are left out (less than 0.1 per mille)."""
        return sum(self.matrices(name) * k * n for name, k, n in self.linears())

    @property
    def embedding_weights(self) -> int:
        """Weights of the input embedding and of an untied output head."""
        return (1 if self.tied else 2) * self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All that is trained: matrices, biases, norms, embedding and head."""
        biases = sum(
            self.matrices(name) * n for name, _, n in self.linears() if name in self.biases
        )
        norms = sum(stored for _, _, _, stored in self.norms())
        return self.block_weights + self.embedding_weights + biases + norms + self.hidden

    def norms(self) -> Iterator[tuple[str, int, int, int]]:
        """(name, vectors a token, their width, gains in the model) of each norm of the blocks."""
        every = ("attn.norm", "ffn.norm")
        post = ("attn.post_norm", "ffn.post_norm") if self.post_norms else ()
        for name in (*every, *post):
            yield name, 1, self.hidden, self.layers * self.hidden
        if self.qk_norms:
            yield "attn.q_norm", self.heads, self.head_dim, self.layers * self.head_dim
            yield "attn.k_norm", self.kv_heads, self.head_dim, self.layers * self.head_dim
        if self.sub_norms:
            yield "attn.sub_norm", 1, self.q_features, self.layers * self.q_features
            for prefix, width, count in self.feed_forwards():
                routed = self.experts_per_token if prefix == "expert" else 1
                yield f"{prefix}.sub_norm", routed, width, count * width
