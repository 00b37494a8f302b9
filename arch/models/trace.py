"""A model's Trace: which layers and vector work one pass through its shape takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tritloom.arch.errors import InputError, require_int, require_one_of
from tritloom.arch.workload import (
    BLOCK_DTYPES,
    DTYPES,
    KV_DTYPES,
    PHASES,
    Gemm,
    Layer,
    Trace,
    Vector,
)

from .shape import ModelShape

MAX_CONTEXT = 1 << 24


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
    """The trace of one pass through a model.

    Parameters
    ----------
    model : ModelShape
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

    Returns
    -------
    Trace

    Raises
    ------
    InputError
        A number format or the phase is unknown, or `batch` or `context` is out of its range.

    Notes
    -----
    INFERRED: routers are balanced. The tokens * experts_per_token assignments of a block spread as
    evenly as they can over its experts, so that decode touches as many experts as there are
    assignments, up to all. Where some experts get one assignment more than others, these others
    are layers of their own, named with "_rest".
    """
    require_int("batch", batch)
    require_int("context", context, high=MAX_CONTEXT)
    require_one_of("phase", phase, PHASES)
    if weight not in BLOCK_DTYPES:
        raise InputError(f"weight must be ternary or fp16, not {weight!r}")
    require_one_of("head_weight", head_weight, DTYPES)
    require_one_of("kv", kv, KV_DTYPES)
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


class OperandDtypes(TypedDict):
    """What `operand_dtypes` says of a layer, as keywords of `Layer`."""

    weight: str
    act: str
    trained: bool


def operand_dtypes(
    name: str, *, weight: str, head_weight: str = "fp16", kv: str = "fp16"
) -> OperandDtypes:
    """`weight`, `act` and `trained` of the layer of that name: the rules of `build_trace`."""
    if name.removesuffix("_window") in ("attn.qk", "attn.av"):
        return {"weight": kv, "act": "fp16", "trained": False}
    of = head_weight if name == "lm_head" else "fp16" if "router" in name else weight
    return {"weight": of, "act": "fp16" if of == "fp16" else "int8", "trained": True}


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
