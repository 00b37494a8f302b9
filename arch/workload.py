"""What is to be computed: a Gemm, and a Trace of layers and vector work, built from a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import InputError, require_int

PHASES = ("prefill", "decode")
DTYPES = ("ternary", "int8", "fp16")
# Of keys and values in the cache; they meet FP16 acts.
KV_DTYPES = ("fp16", "int8", "int4")
ACTIVATIONS = ("silu", "gelu", "relu", "relu2")
# What `arch.counts.vector_counts` knows the arithmetic of.
VECTOR_KINDS = (
    *("norm", "softmax", "sigmoid", "softcap", *ACTIVATIONS),
    *("rotary", "quantise", "compare", "add", "multiply", "lookup"),
)
BLOCK_DTYPES = ("ternary", "fp16")
MAX_CONTEXT = 1 << 24


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
        product is per head, times experts where tokens go to several).
    weight, act : str
        Dtypes of the two operands: "ternary", "int8" or "fp16". Cached keys and values: "fp16",
        "int8" or "int4".
    stationary : bool
        True where the n x k operand is a trained weight, False where it is made at run time
        (keys and values).
    stored : int
        Different n x k operands that memory holds, `count` unless stated: more where a pass leaves
        experts out, less where query heads share keys and values.
    """

    name: str
    gemm: Gemm
    count: int
    weight: str
    act: str
    stationary: bool = True
    stored: int | None = None

    def __post_init__(self):
        require_int("count", self.count)
        if self.stored is None:
            object.__setattr__(self, "stored", self.count)
        require_int("stored", self.stored)
        for role in ("weight", "act"):
            known = KV_DTYPES if role == "weight" and not self.stationary else DTYPES
            if getattr(self, role) not in known:
                raise InputError(f"{role} dtype must be one of {known}, not {getattr(self, role)}")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all occurrences."""
        return self.gemm.macs * self.count

    @property
    def touched(self) -> int:
        """Different n x k operands that one pass reads."""
        return min(self.count, self.stored)

    @property
    def stored_elements(self) -> int:
        """Elements of all n x k operands that memory holds."""
        return self.stored * self.gemm.k * self.gemm.n

    @property
    def dequantised(self) -> bool:
        """Whether integers are turned into FP16 before they are multiplied by FP16 acts."""
        return self.act == "fp16" and self.weight in ("int8", "int4")

    @property
    def scaled(self) -> bool:
        """Whether the product's operands and outputs carry quantisation scales."""
        return self.weight != "fp16" and not self.dequantised


@dataclass(frozen=True, kw_only=True)
class Vector:
    """Work on vectors that is no matrix product, `count` times in a pass.

    Attributes
    ----------
    name : str
        Such as "attn.norm"; the same in every block.
    kind : str
        One of `VECTOR_KINDS`; `arch.counts.vector_counts` says what each computes.
    rows, width : int
        Vectors of one occurrence, and the elements of each.
    count : int
        Occurrences in one pass.
    stored : int
        Trained parameters that memory holds for it: gains, biases, the embedding table.
    """

    name: str
    kind: str
    rows: int
    width: int
    count: int
    stored: int = 0

    def __post_init__(self):
        for name in ("rows", "width", "count"):
            require_int(name, getattr(self, name))
        require_int("stored", self.stored, low=0)
        if self.kind not in VECTOR_KINDS:
            raise InputError(f"kind must be one of {', '.join(VECTOR_KINDS)}, not {self.kind!r}")

    @property
    def elements(self) -> int:
        """Elements of one occurrence."""
        return self.rows * self.width


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
        Of the blocks with a mixture of experts; 0 where there is none.
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
    kv_heads: int | None = None
    gated: bool = True
    head_dim: int | None = None
    tied: bool = False
    weight: str = "ternary"
    activation: str = "silu"
    experts: int = 0
    experts_per_token: int = 0
    expert_ffn: int | None = None
    shared_ffn: int = 0
    dense_layers: int | None = None
    window: int | None = None
    windowed_layers: int | None = None
    max_context: int | None = None
    biases: tuple[str, ...] = ()
    capped: tuple[str, ...] = ()
    post_norms: bool = False
    qk_norms: bool = False
    sub_norms: bool = False
    embedding_scaled: bool = False

    def __post_init__(self):
        self._default("kv_heads", self.heads)
        for name in ("hidden", "ffn", "layers", "heads", "kv_heads", "vocab"):
            require_int(name, getattr(self, name))
        if self.head_dim is None:
            if self.hidden % self.heads:
                raise InputError(f"heads must divide hidden = {self.hidden}, not {self.heads}")
            self._default("head_dim", self.hidden // self.heads)
        if self.heads % self.kv_heads:
            raise InputError(f"kv_heads must divide heads = {self.heads}, not {self.kv_heads}")
        self._default("expert_ffn", self.ffn)
        self._default("dense_layers", 0 if self.experts else self.layers)
        self._default("windowed_layers", self.layers if self.window else 0)
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
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise InputError(f"activation must be one of {known}, not {self.activation!r}")
        if self.weight not in BLOCK_DTYPES:
            raise InputError(f"weight must be ternary or fp16, not {self.weight!r}")
        linears = [name for name, _, _ in self.linears() if name.startswith(("attn.", "ffn."))]
        for role, known in (("biases", linears), ("capped", ["attn.qk", "lm_head"])):
            for name in getattr(self, role):
                if name not in known:
                    raise InputError(f"{role} must be among {', '.join(known)}, not {name!r}")

    def _default(self, name: str, value: int) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

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


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The work of one pass: a whole prompt (prefill) or one token a sequence (decode).

    Attributes
    ----------
    name : str
    phase : str
        "prefill" or "decode".
    tokens : int
        Tokens the pass produces or consumes, over all sequences.
    layers : tuple of Layer
        Its matrix products, each name once.
    vectors : tuple of Vector
        Everything else that it computes, each name once.
    """

    name: str
    phase: str
    tokens: int
    layers: tuple[Layer, ...]
    vectors: tuple[Vector, ...] = ()

    def __post_init__(self):
        _require("phase", self.phase, PHASES)
        require_int("tokens", self.tokens)
        if not self.layers:
            raise InputError(f"trace {self.name} has no layers")
        for entries in (self.layers, self.vectors):
            names = set()
            for entry in entries:
                if entry.name in names:
                    raise InputError(f"trace {self.name} has {entry.name} twice")
                names.add(entry.name)

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
    head_weight: str = "fp16",
    kv: str = "fp16",
) -> Trace:
    """The trace of one pass through `model`.

    Parameters
    ----------
    weight : "ternary" or "fp16"
        Dtype of the block's weight matrices. Ternary layers take int8 acts; attention, the
        routers of experts and, unless stated, the output head stay in FP16, as in BitNet b1.58.
    phase : "prefill" or "decode"
        Prefill runs `context` tokens of each sequence at once, attention over all of them (full,
        not causal: a systolic array computes the masked half too). Decode runs one token of each
        sequence against `context` cached tokens. In a block with a window, every query meets
        min(window, context) tokens in either phase, and as many are cached.
    batch, context : int
    head : bool
        Whether the output head is part of the trace; prefill needs its last token only.
    head_weight : "fp16", "int8" or "ternary"
        Dtype of the output head; ternary and int8 take int8 acts. A quantised head is a copy of
        its own, also where it is tied: the embedding table stays in FP16.
    kv : "fp16", "int8" or "int4"
        Dtype of the cached keys and values, with one scale for each token and head.

    Raises
    ------
    InputError

    Notes
    -----
    INFERRED: routers are balanced. The tokens * experts_per_token assignments of a block spread as
    evenly as they can over its experts, so that decode touches as many experts as there are
    assignments, up to all. Where some experts get one assignment more than others, these others
    are layers of their own, named with "_rest".
    """
    require_int("batch", batch)
    require_int("context", context, high=MAX_CONTEXT)
    _require("phase", phase, PHASES)
    if weight not in BLOCK_DTYPES:
        raise InputError(f"weight must be ternary or fp16, not {weight!r}")
    _require("head_weight", head_weight, DTYPES)
    _require("kv", kv, KV_DTYPES)
    queries = context if phase == "prefill" else 1
    tokens = batch * queries
    attention = list(_attention(model, batch=batch, queries=queries, context=context, kv=kv))
    layers = [*_linears(model, weight=weight, tokens=tokens), *attention]
    vectors = list(_vectors(model, weight=weight, tokens=tokens, kv=kv, attention=attention))
    if head:
        gemm = Gemm(batch, model.hidden, model.vocab)
        dtypes = operand_dtypes("lm_head", weight=weight, head_weight=head_weight)
        layers.append(Layer(name="lm_head", gemm=gemm, count=1, **dtypes))
        vectors.extend(_head_vectors(model, head_weight=head_weight, batch=batch))
    # A head that shares the table holds it.
    shared = head and model.tied and head_weight == "fp16"
    table = 0 if shared else model.vocab * model.hidden
    vectors.append(_vector("embedding", "lookup", tokens, model.hidden, stored=table))
    return Trace(
        name=model.name, phase=phase, tokens=tokens, layers=tuple(layers), vectors=tuple(vectors)
    )


def _require(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def operand_dtypes(
    name: str, *, weight: str, head_weight: str = "fp16", kv: str = "fp16"
) -> dict[str, str | bool]:
    """`weight`, `act` and `stationary` of the layer of that name: the rules of `build_trace`."""
    if name.removesuffix("_window") in ("attn.qk", "attn.av"):
        return {"weight": kv, "act": "fp16", "stationary": False}
    of = head_weight if name == "lm_head" else "fp16" if "router" in name else weight
    return {"weight": of, "act": "fp16" if of == "fp16" else "int8", "stationary": True}


def _linears(model: ModelShape, *, weight: str, tokens: int) -> Iterator[Layer]:
    """The products with the weights of the blocks."""
    for name, k, n in model.linears():
        dtypes = operand_dtypes(name, weight=weight)
        if not name.startswith("expert."):
            yield Layer(name=name, gemm=Gemm(tokens, k, n), count=model.matrices(name), **dtypes)
            continue
        share, more = divmod(tokens * model.experts_per_token, model.experts)
        groups = [(share + 1, more), (share, model.experts - more)]
        # Experts that no token goes to are in memory all the same.
        idle = 0 if share else model.experts - more
        for suffix, (m, experts) in zip(("", "_rest"), filter(all, groups), strict=False):
            yield Layer(
                name=f"{name}{suffix}",
                gemm=Gemm(m, k, n),
                count=model.expert_layers * experts,
                stored=model.expert_layers * (experts + idle),
                **dtypes,
            )


def _attention(
    model: ModelShape, *, batch: int, queries: int, context: int, kv: str
) -> Iterator[Layer]:
    """The products with keys and values, of blocks with and without a window."""
    kinds = (
        ("", context, model.layers - model.windowed_layers),
        ("_window", min(model.window or context, context), model.windowed_layers),
    )
    for suffix, length, blocks in kinds:
        if not blocks:
            continue
        for name, k, n in (
            ("attn.qk", model.head_dim, length),
            ("attn.av", length, model.head_dim),
        ):
            yield Layer(
                name=f"{name}{suffix}",
                gemm=Gemm(queries, k, n),
                count=blocks * batch * model.heads,
                stored=blocks * batch * model.kv_heads,
                **operand_dtypes(name, weight="fp16", kv=kv),
            )


def _vector(
    name: str, kind: str, rows: int, width: int, *, count: int = 1, stored: int = 0
) -> Vector:
    return Vector(name=name, kind=kind, rows=rows, width=width, count=count, stored=stored)


def _vectors(
    model: ModelShape, *, weight: str, tokens: int, kv: str, attention: list[Layer]
) -> Iterator[Vector]:
    """What the blocks compute besides matrix products."""
    hidden, blocks = model.hidden, model.layers
    if model.embedding_scaled:
        yield _vector("embedding.scale", "multiply", tokens, hidden)
    for name, rows, width, stored in model.norms():
        count = stored // width // (model.experts if name.startswith("expert.") else 1)
        yield _vector(name, "norm", tokens * rows, width, count=count, stored=stored)
    for name, _, n in model.linears():
        if name in model.biases:
            count = model.matrices(name)
            yield _vector(f"{name}.bias", "add", tokens, n, count=count, stored=count * n)
    both = model.q_features + model.kv_features
    yield _vector("attn.rotary", "rotary", tokens, both, count=blocks)
    if kv != "fp16":
        rows = 2 * tokens * model.kv_heads
        yield _vector("attn.kv_quantise", "quantise", rows, model.head_dim, count=blocks)
        yield _vector("attn.kv_scale", "multiply", rows, model.head_dim, count=blocks)
    for layer in attention:
        name, queries, length = layer.name, layer.gemm.m, layer.gemm.n
        if name.startswith("attn.qk"):
            if "attn.qk" in model.capped:
                yield _vector(f"{name}.cap", "softcap", queries, length, count=layer.count)
            name = name.replace("qk", "softmax")
            yield _vector(name, "softmax", queries, length, count=layer.count)
    if weight == "ternary":
        # Matrices that read the same acts share their quantisation.
        yield _vector("attn.quantise", "quantise", tokens, hidden, count=blocks)
        yield _vector("attn.o.quantise", "quantise", tokens, model.q_features, count=blocks)
        yield _vector("ffn.quantise", "quantise", tokens, hidden, count=blocks)
    yield _vector("residual", "add", tokens, hidden, count=2 * blocks)
    yield from _routing_vectors(model, tokens=tokens)
    for prefix, width, count in model.feed_forwards():
        rows = tokens
        if prefix == "expert":
            rows, count = tokens * model.experts_per_token, model.expert_layers
        yield _vector(f"{prefix}.activation", model.activation, rows, width, count=count)
        if model.gated:
            yield _vector(f"{prefix}.product", "multiply", rows, width, count=count)
        if weight == "ternary":
            yield _vector(f"{prefix}.down.quantise", "quantise", rows, width, count=count)


def _routing_vectors(model: ModelShape, *, tokens: int) -> Iterator[Vector]:
    """Choice of the experts, and the weighted sum of what they give."""
    blocks, chosen = model.expert_layers, model.experts_per_token
    if not blocks:
        return
    yield _vector("router.softmax", "softmax", tokens, model.experts, count=blocks)
    yield _vector("router.top_k", "compare", tokens * chosen, model.experts, count=blocks)
    weighted = chosen
    if model.shared_ffn:
        weighted += 1
        yield _vector("shared.router.sigmoid", "sigmoid", tokens, 1, count=blocks)
    yield _vector("expert.scale", "multiply", tokens * weighted, model.hidden, count=blocks)
    if weighted > 1:
        rows = tokens * (weighted - 1)
        yield _vector("expert.sum", "add", rows, model.hidden, count=blocks)


def _head_vectors(model: ModelShape, *, head_weight: str, batch: int) -> Iterator[Vector]:
    yield _vector("head.norm", "norm", batch, model.hidden, stored=model.hidden)
    if head_weight != "fp16":
        yield _vector("lm_head.quantise", "quantise", batch, model.hidden)
    if "lm_head" in model.capped:
        yield _vector("lm_head.cap", "softcap", batch, model.vocab)
