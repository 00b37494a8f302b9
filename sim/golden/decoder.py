"""A whole BitNet decoder in NumPy, from tokens to logits; a callable computes ternary products.

Everything but the ternary products is float32, computed as in `transformers.models.bitnet`. A
ternary product is one of int8 acts and trits in exact integers: whoever returns the same psums, the
golden model or RTL, gives the same logits to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tritloom.arch.errors import InputError, require_int
from tritloom.arch.ternary import check_trits

from .attention import attend, rotate
from .decoder_shape import ACTIVATIONS, DecoderShape
from .linear import exact_float, rescale
from .quantise import absmax_acts

# (name of a ternary matrix, acts int8 (m, k)) -> psums (m, n), integers
Product = Callable[[str, np.ndarray], np.ndarray]


class Decoder:
    """A decoder and the keys and values of the tokens that it has seen.

    Parameters
    ----------
    shape : DecoderShape
    scales : mapping
        The scale that multiplies the psums of each matrix of `shape.matrices()`, by name.
    floats : mapping
        Each tensor of `shape.floats()`, of any real dtype; more are ignored.
    product : callable
        (name, acts int8 (m, k)) -> psums, integers (m, n). See `golden_product`.

    Raises
    ------
    InputError
        Names the scale or tensor that is missing, of the wrong shape, or not finite.
    """

    def __init__(
        self,
        shape: DecoderShape,
        *,
        scales: Mapping[str, float],
        floats: Mapping[str, np.ndarray],
        product: Product,
    ):
        self.shape = shape
        self._product = product
        self._matrices = shape.matrices()
        self._scales = {name: _scale(name, scales) for name in self._matrices}
        self._floats = {
            name: _tensor(name, floats, expected) for name, expected in shape.floats().items()
        }
        self._head = self._floats["model.embed_tokens.weight" if shape.tied else "lm_head.weight"]
        self.reset()

    @property
    def length(self) -> int:
        """Tokens in the KV cache."""
        return self._cache[0][0].shape[0]

    def reset(self) -> None:
        """Forget all tokens."""
        empty = np.empty((0, self.shape.kv_heads, self.shape.head_dim), np.float32)
        self._cache = [(empty, empty)] * self.shape.layers

    def forward(self, tokens: Sequence[int], *, last_only: bool = False) -> np.ndarray:
        """Append tokens to those that the decoder has seen.

        Parameters
        ----------
        tokens : sequence of m integers
        last_only : bool
            Compute the head for the last token alone.

        Returns
        -------
        ndarray of float32, shape (m, vocab), or (1, vocab) with `last_only`
            For each token the logits of the token that follows it.

        Raises
        ------
        InputError
            No tokens, one outside the vocabulary, more than the context holds, or a value that
            leaves float32 on the way. The KV cache is then as it was.
        """
        rows = self._checked(tokens)
        # What overflows is caught below, at the next quantisation or in the logits.
        with np.errstate(over="ignore", invalid="ignore"):
            x = self._floats["model.embed_tokens.weight"][rows]
            cache = []
            for layer in range(self.shape.layers):
                mixed, seen = self._attention(layer, x)
                x = x + mixed
                x = x + self._feed_forward(layer, x)
                cache.append(seen)
            logits = self._norm("model.norm", x[-1:] if last_only else x) @ self._head.T
        if not np.isfinite(logits).all():
            raise InputError("logits must be finite in float32: a scale or a float is too large")
        self._cache = cache
        return logits

    def _checked(self, tokens: Sequence[int]) -> np.ndarray:
        array = np.asarray(tokens)
        if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
            raise InputError(
                f"tokens must be a row of one integer or more, "
                f"not of shape {array.shape} and dtype {array.dtype}"
            )
        wrong = array[(array < 0) | (array >= self.shape.vocab)]
        if wrong.size:
            raise InputError(f"a token must be from 0 to {self.shape.vocab - 1}, not {wrong[0]}")
        self.require_room(array.size)
        return array

    def require_room(self, count: int) -> None:
        """Raise `InputError` unless `count` more tokens fit the context."""
        total = self.length + count
        if total > self.shape.max_context:
            raise InputError(
                f"the context must be at most {self.shape.max_context} tokens, not {total}"
            )

    def _attention(self, layer: int, x: np.ndarray) -> tuple[np.ndarray, tuple]:
        """What attention adds to x (m, hidden), and the keys and values that the layer has then."""
        shape, block = self.shape, f"model.layers.{layer}"
        h = self._norm(f"{block}.input_layernorm", x)
        q, k, v = self._linears(layer, h, "attn.q", "attn.k", "attn.v")
        q, k, v = (y.reshape(len(x), -1, shape.head_dim) for y in (q, k, v))
        positions = np.arange(self.length, self.length + len(x))
        q, k = (rotate(y, positions, theta=shape.rope_theta) for y in (q, k))
        keys, values = (
            np.concatenate((seen, new))
            for seen, new in zip(self._cache[layer], (k, v), strict=True)
        )
        y = self._norm(f"{block}.self_attn.attn_sub_norm", attend(q, keys, values))
        (y,) = self._linears(layer, y, "attn.o")
        return y, (keys, values)

    def _feed_forward(self, layer: int, x: np.ndarray) -> np.ndarray:
        block = f"model.layers.{layer}"
        h = self._norm(f"{block}.post_attention_layernorm", x)
        gate, up = self._linears(layer, h, "ffn.gate", "ffn.up")
        y = ACTIVATIONS[self.shape.activation](gate) * up
        (y,) = self._linears(layer, self._norm(f"{block}.mlp.ffn_sub_norm", y), "ffn.down")
        return y

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return rms_norm(x, self._floats[f"{name}.weight"], epsilon=self.shape.norm_epsilon)

    def _linears(self, layer: int, x: np.ndarray, *kinds: str) -> list[np.ndarray]:
        """Outputs of ternary layers that share their input, which is quantised once."""
        acts = absmax_acts(x)
        outputs = []
        for name in (f"layers.{layer}.{kind}" for kind in kinds):
            psums = self._product(name, acts.values)
            expected = (len(x), self._matrices[name][1])
            if psums.shape != expected:
                raise InputError(f"psums of {name} must be of shape {expected}, not {psums.shape}")
            outputs.append(rescale(psums, acts=acts, weight_scale=self._scales[name]))
        return outputs


def rms_norm(x: np.ndarray, weight: np.ndarray, *, epsilon: float) -> np.ndarray:
    """Each token of x (m, width) over the root of its mean square, times weight (width)."""
    square = np.mean(x * x, axis=-1, keepdims=True)
    return weight * (x * (1 / np.sqrt(square + np.float32(epsilon))))


def golden_product(trits: Mapping[str, np.ndarray]) -> Product:
    """A product for `Decoder` that multiplies as `sim.golden.linear.ternary_gemm` does.

    It holds each matrix (n, k) in floats, four bytes a trit, rather than convert it for each token.

    Raises
    ------
    InputError
        A value that is no trit, or, when called, a name that is not there or acts of another k.
    """
    operands = {}
    for name, matrix in trits.items():
        matrix = check_trits(matrix)
        operands[name] = matrix.astype(exact_float(matrix.shape[1] * 128))

    def product(name: str, acts: np.ndarray) -> np.ndarray:
        if name not in operands:
            raise InputError(f"trits lack {name}")
        matrix = operands[name]
        if acts.shape[1] != matrix.shape[1]:
            raise InputError(
                f"{name} must have k = {acts.shape[1]}, but its trits are {matrix.shape}"
            )
        return (acts.astype(matrix.dtype) @ matrix.T).astype(np.int64)

    return product


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    count: int,
    *,
    temperature: float = 0,
    seed: int = 0,
) -> Iterator[int]:
    """`count` tokens that follow the prompt, which follows what the decoder has seen.

    Parameters
    ----------
    decoder : Decoder
        Its KV cache then holds all of these tokens but the last.
    prompt : sequence of one integer or more
    count : int
    temperature : float
        With 0 the likeliest token follows, the lowest of equals; otherwise tokens are drawn from
        softmax(logits / temperature).
    seed : int
        Seed of the draws.

    Raises
    ------
    InputError
        Raised at once where count, temperature or seed is wrong or the context too short, and
        later as by `Decoder.forward`.
    """
    require_int("count", count)
    require_int("seed", seed, low=0)
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not number or not 0 <= temperature < math.inf:
        raise InputError(f"temperature must be a finite number from 0, not {temperature!r}")
    decoder.require_room(len(prompt) + count - 1)
    return _continue(decoder, prompt, count, temperature, np.random.default_rng(seed))


def _continue(decoder, prompt, count, temperature, rng) -> Iterator[int]:
    tokens = prompt
    for _ in range(count):
        (logits,) = decoder.forward(tokens, last_only=True)
        tokens = [_draw(logits, temperature, rng) if temperature else int(logits.argmax())]
        yield tokens[0]


def _draw(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    below = logits.astype(np.float64) - logits.max()
    # A temperature so low that a quotient overflows leaves exp(-inf) = 0.
    with np.errstate(over="ignore"):
        sums = np.cumsum(np.exp(below / temperature))
    return int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))


def _scale(name: str, scales: Mapping[str, float]) -> np.float32:
    if name not in scales:
        raise InputError(f"scales lack {name}")
    with np.errstate(over="ignore"):
        scale = np.float32(scales[name])
    if not np.isfinite(scale):
        raise InputError(f"the scale of {name} must be finite in float32, not {scales[name]}")
    return scale


def _tensor(name: str, floats: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    if name not in floats:
        raise InputError(f"floats lack {name}")
    array = np.asarray(floats[name])
    if array.shape != shape:
        raise InputError(f"{name} must be of shape {shape}, not {array.shape}")
    if not np.can_cast(array.dtype, np.float64):
        raise InputError(f"{name} must be real numbers, not of dtype {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite in float32")
    return array
