"""What is to be computed: a Gemm; a Layer, which repeats it; vector work; a Trace of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import InputError, require_int, require_one_of
from .fields import UnlessStated, default

PHASES = ("prefill", "decode")
DTYPES = ("ternary", "int8", "fp16")
# Bits of a number in each format; those of a trit are its packing's, in `arch.ternary`.
DTYPE_BITS = {"int4": 4, "int8": 8, "fp16": 16}
# Formats of keys and values in the cache; they meet FP16 acts.
KV_DTYPES = ("fp16", "int8", "int4")
ACTIVATIONS = ("silu", "gelu", "relu", "relu2")
# Kinds of vector work, whose arithmetic `arch.counts.vector_counts` knows.
VECTOR_KINDS = (
    *("norm", "softmax", "sigmoid", "softcap", *ACTIVATIONS),
    *("rotary", "quantise", "compare", "add", "multiply", "lookup"),
)
BLOCK_DTYPES = ("ternary", "fp16")


@dataclass(frozen=True)
class Gemm:
    """A matrix product: Y[m, n] = X[m, k] . W[n, k]^T.

    Attributes
    ----------
    m, k, n : int
        Tokens, input features and output features, each at least 1.

    Raises
    ------
    InputError
        A dimension is no integer, or below 1.
    """

    m: int
    k: int
    n: int

    def __post_init__(self):
        for name in ("m", "k", "n"):
            require_int(name, getattr(self, name))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the product."""
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
    trained : bool
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
    trained: bool = True
    stored: UnlessStated = UnlessStated()

    def __post_init__(self):
        require_int("count", self.count)
        default(self, "stored", self.count)
        require_int("stored", self.stored)
        for role in ("weight", "act"):
            known = KV_DTYPES if role == "weight" and not self.trained else DTYPES
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
        require_one_of("kind", self.kind, VECTOR_KINDS)

    @property
    def elements(self) -> int:
        """Elements of one occurrence."""
        return self.rows * self.width


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
        Matrix products of the pass, each name once.
    vectors : tuple of Vector
        Everything else that it computes, each name once.
    """

    name: str
    phase: str
    tokens: int
    layers: tuple[Layer, ...]
    vectors: tuple[Vector, ...] = ()

    def __post_init__(self):
        require_one_of("phase", self.phase, PHASES)
        require_int("tokens", self.tokens)
        if not self.layers:
            raise InputError(f"trace {self.name} has no layers")
        for entries in (self.layers, self.vectors):
            names: set[str] = set()
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
