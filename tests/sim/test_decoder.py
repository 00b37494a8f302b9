"""The golden decoder: against `transformers` where it is installed, and against loops."""

import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

from tritloom.arch.errors import InputError
from tritloom.sim.golden.attention import attend, rotate
from tritloom.sim.golden.decoder import Decoder, generate, golden_product
from tritloom.sim.golden.decoder_shape import DecoderShape
from tritloom.sim.golden.linear import ternary_gemm
from tritloom.sim.golden.quantise import absmax_acts

SHAPE = {
    "hidden": 32,
    "ffn": 48,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 8,
    "vocab": 40,
    "rope_theta": 10_000.0,
    "norm_epsilon": 1e-5,
    "activation": "silu",
    "tied": True,
    "max_context": 16,
}
CONFIG = {
    "model_type": "bitnet",
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 16,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
    "vocab_size": 40,
}


def parameters(shape, seed=0):
    """Random trits, scales that keep activations near 1, and floats for a decoder."""
    rng = np.random.default_rng(seed)
    trits = {
        name: rng.integers(-1, 2, (n, k)).astype(np.int8)
        for name, (k, n) in shape.matrices().items()
    }
    scales = {
        name: np.float32(rng.uniform(0.5, 1.5) / math.sqrt(k * 2 / 3))
        for name, (k, _) in shape.matrices().items()
    }
    floats = {
        name: rng.normal(0, 1, dims) if len(dims) == 2 else rng.uniform(0.5, 1.5, dims)
        for name, dims in shape.floats().items()
    }
    floats = {name: values.astype(np.float32) for name, values in floats.items()}
    return trits, scales, floats


def decoder_of(shape, seed=0):
    trits, scales, floats = parameters(shape, seed)
    return Decoder(shape, scales=scales, floats=floats, product=golden_product(trits))


def in_chunks(decoder, tokens, sizes):
    """Logits of all tokens, given to the decoder in chunks."""
    ends = np.cumsum(sizes)
    assert ends[-1] == len(tokens)
    return np.concatenate(
        [decoder.forward(tokens[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    )


@pytest.fixture
def decoder():
    return decoder_of(DecoderShape(**SHAPE))


# ---- transformers

HF_PARTS = {
    "attn.q": "self_attn.q_proj",
    "attn.k": "self_attn.k_proj",
    "attn.v": "self_attn.v_proj",
    "attn.o": "self_attn.o_proj",
    "ffn.gate": "mlp.gate_proj",
    "ffn.up": "mlp.up_proj",
    "ffn.down": "mlp.down_proj",
}
# Class of the linear layers: "autobitlinear" multiplies by the scale in the file, "bitlinear"
# divides. Between them the cases have every number of KV heads, both activations, both heads.
CASES = [
    ("relu2", 1, True, "autobitlinear"),
    ("silu", 2, False, "autobitlinear"),
    ("relu2", 4, False, "bitlinear"),
    ("silu", 2, True, "bitlinear"),
]


@pytest.fixture(scope="module")
def hugging_face():
    """`torch` and `transformers`, without compilation and without a network."""
    torch = pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        # Their linears are compiled otherwise, by a C++ compiler at the first call.
        patch.setenv("TORCHDYNAMO_DISABLE", "1")
        # Unlike an import it lets warnings pass.
        transformers = pytest.importorskip("transformers")
        yield SimpleNamespace(torch=torch, transformers=transformers)


def hf_name(name):
    _, layer, kind = name.split(".", 2)
    return f"model.layers.{layer}.{HF_PARTS[kind]}"


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case)))
def pair(request, hugging_face, tmp_path_factory):
    """One checkpoint as `transformers` loads it, with what its linears saw, and for `Decoder`."""
    from safetensors.numpy import save_file
    from transformers.integrations.bitnet import pack_weights

    activation, kv_heads, tied, linear_class = request.param
    torch, transformers = hugging_face.torch, hugging_face.transformers
    config = transformers.BitNetConfig(
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        vocab_size=50,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        rms_norm_eps=1e-4,
        hidden_act=activation,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=1,
    )
    folder = tmp_path_factory.mktemp("checkpoint")
    config.architectures = ["BitNetForCausalLM"]
    config.save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    content["quantization_config"] = {"quant_method": "bitnet", "linear_class": linear_class}
    (folder / "config.json").write_text(json.dumps(content))

    shape = DecoderShape.from_config(content)
    trits, scales, floats = parameters(shape, seed=CASES.index(request.param))
    tensors = dict(floats)
    for name, matrix in trits.items():
        stored = scales[name] if linear_class == "autobitlinear" else 1 / scales[name]
        packed = pack_weights(torch.from_numpy(matrix.copy())).numpy()
        tensors[f"{hf_name(name)}.weight"] = packed
        tensors[f"{hf_name(name)}.weight_scale"] = np.array([stored], np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    tokens = np.random.default_rng(99).integers(0, shape.vocab, 12)
    inputs, outputs = {}, {}

    def record(name):
        def hook(module, args, output):
            inputs[name], outputs[name] = args[0][0].numpy(), output[0].numpy()

        return hook

    for name in trits:
        model.get_submodule(hf_name(name)).register_forward_hook(record(name))
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens)[None], use_cache=False).logits[0].numpy()
    return SimpleNamespace(
        model=model,
        content=content,
        shape=shape,
        weights={"scales": scales, "floats": floats},
        trits=trits,
        tokens=tokens,
        inputs=inputs,
        outputs=outputs,
        logits=logits,
    )


def their_acts(pair, name, x):
    """What a layer of `transformers` quantises x (m, k) to, and the steps in a unit (m, 1)."""
    from transformers.integrations.bitnet import ActQuant, BitLinear

    module = pair.model.get_submodule(hf_name(name))
    x = module.weight_scale.new_tensor(x)
    if isinstance(module, BitLinear):
        acts, steps = module.activation_quant(x)
        return acts.numpy(), steps.numpy()
    # Divided by the steps again, in floats.
    steps = 127 / x.abs().max(dim=-1, keepdim=True).values
    scaled = (ActQuant.apply(x) * steps).numpy()
    assert np.abs(scaled - np.rint(scaled)).max() < 1e-4
    return np.rint(scaled).astype(np.int8), steps.numpy()


def their_psums(pair, name, steps):
    """What a layer of `transformers` gave, in units of both scales."""
    module = pair.model.get_submodule(hf_name(name))
    stored = module.weight_scale.numpy().astype(np.float64)
    divides = pair.content["quantization_config"]["linear_class"] == "bitlinear"
    scaled = pair.outputs[name] * steps * (stored if divides else 1 / stored)
    assert np.abs(scaled - np.rint(scaled)).max() < 0.05
    return np.rint(scaled)


@pytest.mark.torch
def test_acts_and_psums_of_each_linear_are_those_of_transformers(pair):
    for name, trits in pair.trits.items():
        acts, steps = their_acts(pair, name, pair.inputs[name])
        ours = absmax_acts(pair.inputs[name]).values
        assert np.array_equal(ours, acts)
        psums = golden_product({name: trits})(name, ours)
        assert np.array_equal(psums, their_psums(pair, name, steps))


@pytest.mark.torch
def test_ties_round_as_in_transformers(pair):
    # These values are as near to half a step as a float comes.
    largest = np.random.default_rng(7).uniform(0.1, 10, (100, 1)).astype(np.float32)
    halves = (np.arange(-126, 126) + 0.5) * largest / 127
    x = np.concatenate((largest, halves), axis=1).astype(np.float32)
    acts, _ = their_acts(pair, "layers.0.attn.q", x)
    assert np.array_equal(absmax_acts(x).values, acts)


class Follower:
    """A product of the acts of `transformers`, from which the decoder's may differ by ties alone.

    Floats before a quantisation differ in their last bits, since the two sum in other orders. An
    act within those bits of half an integer may then round either way, and one step of an act is
    far more than the last bits of a logit. So that logits can be held to those, a tie is taken as
    `transformers` took it.
    """

    def __init__(self, pair):
        self.golden = golden_product(pair.trits)
        self.inputs = pair.inputs
        self.seen = dict.fromkeys(pair.trits, 0)
        self.acts = self.ties = 0

    def __call__(self, name, acts):
        first = self.seen[name]
        self.seen[name] += len(acts)
        x = self.inputs[name][first : self.seen[name]]
        theirs = absmax_acts(x).values
        differs = acts != theirs
        exact = x * (127 / np.abs(x).max(axis=1, keepdims=True))
        from_half = np.abs(exact - np.floor(exact) - 0.5)
        assert (from_half[differs] < 1e-4).all()
        assert np.abs(acts.astype(int) - theirs).max() <= 1
        self.acts += acts.size
        self.ties += np.count_nonzero(differs)
        return self.golden(name, theirs)


@pytest.mark.torch
@pytest.mark.parametrize("sizes", [[12], [7, 1, 1, 1, 1, 1], [1] * 12, [2, 6, 4]], ids=str)
def test_logits_are_those_of_transformers(pair, sizes):
    product = Follower(pair)
    decoder = Decoder(pair.shape, **pair.weights, product=product)
    logits = in_chunks(decoder, pair.tokens, sizes)
    assert logits.dtype == np.float32
    # Logits of a standard deviation of 8.
    np.testing.assert_allclose(logits, pair.logits, rtol=0, atol=1e-4)
    assert product.ties <= product.acts / 1000


@pytest.mark.torch
def test_likeliest_tokens_are_those_of_transformers(pair):
    decoder = Decoder(pair.shape, **pair.weights, product=golden_product(pair.trits))
    logits = decoder.forward(pair.tokens)
    assert np.array_equal(logits.argmax(axis=1), pair.logits.argmax(axis=1))


@pytest.mark.torch
def test_shape_is_read_from_the_config_that_transformers_writes(pair):
    shape, config = pair.shape, pair.model.config
    assert "rope_theta" in pair.content["rope_parameters"]
    assert (shape.rope_theta, shape.norm_epsilon) == (5000.0, 1e-4)
    assert (shape.activation, shape.tied) == (config.hidden_act, config.tie_word_embeddings)
    own = {name for name, _ in pair.model.named_parameters()} | set(pair.model.state_dict())
    own -= {f"{hf_name(n)}.{part}" for n in pair.trits for part in ("weight", "weight_scale")}
    assert own - set(shape.floats()) == ({"lm_head.weight"} if shape.tied else set())
    assert set(shape.floats()) <= own


# ---- loops


def rotated_by_loops(x, positions, theta):
    """Each pair of coordinates as a complex number that is turned."""
    out = np.empty(x.shape)
    half = x.shape[2] // 2
    for token, head, i in np.ndindex(x.shape[0], x.shape[1], half):
        turn = np.exp(1j * positions[token] * theta ** (-2 * i / (2 * half)))
        z = complex(x[token, head, i], x[token, head, half + i]) * turn
        out[token, head, i], out[token, head, half + i] = z.real, z.imag
    return out


def attended_by_loops(queries, keys, values):
    m, heads, head_dim = queries.shape
    t, kv_heads, _ = keys.shape
    out = np.zeros((m, heads, head_dim))
    for token, head in np.ndindex(m, heads):
        shared = head // (heads // kv_heads)
        visible = range(t - m + token + 1)
        scores = [
            sum(float(queries[token, head, d]) * float(keys[s, shared, d]) for d in range(head_dim))
            for s in visible
        ]
        weights = [math.exp(score / math.sqrt(head_dim)) for score in scores]
        for s in visible:
            out[token, head] += weights[s] / sum(weights) * values[s, shared]
    return out.reshape(m, -1)


@pytest.mark.parametrize("head_dim", [2, 6, 16])
@pytest.mark.parametrize("theta", [100.0, 500_000.0])
def test_rotary_embedding_turns_pairs_of_the_two_halves(head_dim, theta):
    rng = np.random.default_rng(head_dim)
    x = rng.normal(size=(5, 3, head_dim)).astype(np.float32)
    positions = np.array([0, 1, 2, 17, 300])
    turned = rotate(x, positions, theta=theta)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned, rotated_by_loops(x, positions, theta), atol=1e-4)
    assert np.array_equal(turned[0], x[0])


def test_scores_of_rotated_heads_depend_on_the_distance_alone():
    rng = np.random.default_rng(3)
    q, k = rng.normal(size=(2, 1, 1, 16)).astype(np.float32)

    def score(at, back):
        query = rotate(q, np.array([at]), theta=1e4)
        return float(np.vdot(query, rotate(k, np.array([at - back]), theta=1e4)))

    np.testing.assert_allclose([score(at, 5) for at in (6, 50, 400)], score(5, 5), atol=1e-4)
    assert abs(score(6, 5) - score(6, 4)) > 1e-2


@pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
@pytest.mark.parametrize(("m", "t"), [(1, 1), (1, 7), (4, 4), (3, 8)])
def test_attention_agrees_with_loops(kv_heads, m, t):
    rng = np.random.default_rng([kv_heads, m, t])
    queries = rng.normal(size=(m, 6, 4)).astype(np.float32)
    keys, values = rng.normal(size=(2, t, kv_heads, 4)).astype(np.float32)
    attended = attend(queries, keys, values)
    assert attended.dtype == np.float32
    np.testing.assert_allclose(attended, attended_by_loops(queries, keys, values), atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_of_any_size_and_sign_become_weights(sign):
    # Scores of 500 and 501, or their negatives, whose exponentials no float32 holds.
    queries = np.full((1, 1, 4), 10, np.float32)
    keys = sign * np.array([[[25] * 4], [[25.05] * 4]], np.float32)
    values = np.array([[[0.0] * 4], [[1.0] * 4]], np.float32)
    share = 1 / (1 + math.exp(-sign))
    np.testing.assert_allclose(attend(queries, keys, values), [[share] * 4], rtol=1e-4)


# ---- the decoder by itself


@pytest.mark.parametrize("tied", [True, False])
def test_matrices_come_in_the_order_of_execution(tied):
    shape = DecoderShape(**SHAPE | {"tied": tied, "head_dim": 6})
    trits, scales, floats = parameters(shape)
    called = {}

    def product(name, acts):
        called[name] = (acts.shape[1], trits[name].shape[0])
        assert acts.dtype == np.int8
        return ternary_gemm(acts, trits[name])

    decoder = Decoder(shape, scales=scales, floats=floats, product=product)
    assert decoder.forward([3, 1]).shape == (2, shape.vocab)
    assert list(called.items()) == list(shape.matrices().items())
    assert called["layers.1.attn.k"] == (32, 12)


def test_equal_psums_give_equal_logits_to_the_last_bit(decoder):
    trits, scales, floats = parameters(decoder.shape)

    def integers(name, acts):
        return (acts.astype(np.int32) @ trits[name].T.astype(np.int32)).astype(np.int32)

    other = Decoder(decoder.shape, scales=scales, floats=floats, product=integers)
    for chunk in ([1, 2, 3], [4], [5]):
        assert np.array_equal(decoder.forward(chunk), other.forward(chunk))


@pytest.mark.parametrize("k", [1, 5, 131072, 131073])
def test_golden_product_is_that_of_ternary_gemm(k):
    trits = np.ones((2, k), np.int8)
    trits[1, ::3] = -1
    acts = np.full((2, k), -128, np.int8)
    acts[0, 0] = -127  # so that the largest sum is odd, and no float32 beyond 2**24
    acts[1, 1:] = np.random.default_rng(k).integers(-128, 128, k - 1)
    psums = golden_product({"w": trits})("w", acts)
    assert psums.dtype == np.int64
    assert np.array_equal(psums, ternary_gemm(acts, trits))


def test_later_tokens_leave_earlier_logits_alone(decoder):
    first = decoder.forward([5, 6, 7, 8])
    decoder.reset()
    second = decoder.forward([5, 6, 9, 1])
    np.testing.assert_allclose(first[:2], second[:2], atol=1e-4)
    assert (np.abs(first[2:] - second[2:]).max(axis=1) > 0.1).all()


def test_position_matters(decoder):
    # A token that sees but copies of itself attends to equal values, wherever it stands.
    same = decoder.forward([5] * 4)
    np.testing.assert_allclose(same, np.broadcast_to(same[0], same.shape), atol=1e-4)
    decoder.reset()
    one = decoder.forward([5, 6, 7])[-1]
    decoder.reset()
    assert np.abs(one - decoder.forward([6, 5, 7])[-1]).max() > 0.1


@pytest.mark.parametrize("sizes", [[1] * 8, [5, 1, 1, 1], [3, 5]], ids=str)
def test_a_prompt_may_come_in_chunks(decoder, sizes):
    tokens = np.arange(8)
    whole = decoder.forward(tokens)
    decoder.reset()
    assert decoder.length == 0
    np.testing.assert_allclose(in_chunks(decoder, tokens, sizes), whole, atol=1e-4)
    assert decoder.length == 8


def test_last_only_is_the_last_row(decoder):
    whole = decoder.forward([1, 2, 3])
    decoder.reset()
    last = decoder.forward([1, 2, 3], last_only=True)
    assert last.shape == (1, 40)
    np.testing.assert_allclose(last, whole[-1:], atol=1e-4)


def test_large_activations_are_no_warning(decoder):
    _, scales, floats = parameters(decoder.shape)
    scales = {name: scale * (1e6 if "gate" in name else 1) for name, scale in scales.items()}
    product = golden_product(parameters(decoder.shape)[0])
    large = Decoder(decoder.shape, scales=scales, floats=floats, product=product)
    assert np.isfinite(large.forward([1, 2])).all()


def test_a_token_that_fails_leaves_the_cache_as_it_was(decoder):
    trits, scales, floats = parameters(decoder.shape)
    golden, broken = golden_product(trits), []

    def product(name, acts):
        if name in broken:
            raise InputError("no psums")
        return golden(name, acts)

    failing = Decoder(decoder.shape, scales=scales, floats=floats, product=product)
    failing.forward([1, 2])
    broken.append("layers.1.ffn.down")
    with pytest.raises(InputError, match=r"^no psums$"):
        failing.forward([3])
    broken.clear()
    decoder.forward([1, 2])
    assert failing.length == 2
    assert np.array_equal(failing.forward([4]), decoder.forward([4]))


# ---- generation


def test_greedy_tokens_are_the_likeliest_one_after_another(decoder):
    tokens = list(generate(decoder, [1, 2], 6))
    assert decoder.length == 7
    other = decoder_of(decoder.shape)
    context = [1, 2]
    for token in tokens:
        other.reset()
        assert token == other.forward(context)[-1].argmax()
        context.append(token)


def fixed(logits):
    """A decoder whose every token has these logits."""
    logits = np.array([logits], np.float32)
    return SimpleNamespace(
        forward=lambda tokens, last_only: logits, require_room=lambda count: None
    )


def test_of_equal_logits_the_lowest_token_is_taken():
    assert list(generate(fixed([0, 3, 3, 1]), [0], 3)) == [1, 1, 1]


def test_draws_follow_the_softmax_and_the_seed():
    logits = np.log([0.1, 0.2, 0.0001, 0.7])
    draws = list(generate(fixed(logits), [0], 4000, temperature=1, seed=5))
    share = np.bincount(draws, minlength=4) / 4000
    np.testing.assert_allclose(share, [0.1, 0.2, 0, 0.7], atol=0.03)
    assert draws == list(generate(fixed(logits), [0], 4000, temperature=1, seed=5))
    assert draws != list(generate(fixed(logits), [0], 4000, temperature=1, seed=6))
    sharp = list(generate(fixed(logits), [0], 4000, temperature=0.5, seed=5))
    share = np.bincount(sharp, minlength=4) / 4000
    np.testing.assert_allclose(share, np.array([1, 4, 0, 49]) / 54, atol=0.03)
    assert set(generate(fixed(logits), [0], 50, temperature=1e-310)) == {3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"temperature": -1.0}, "temperature must be a finite number from 0, not -1.0"),
        ({"temperature": math.inf}, "temperature must be a finite number from 0, not inf"),
        ({"temperature": math.nan}, "temperature must be a finite number from 0, not nan"),
        ({"temperature": "hot"}, "temperature must be a finite number from 0, not 'hot'"),
        ({"count": 15}, "the context must be at most 16 tokens, not 17"),
    ],
)
def test_wrong_requests_are_refused_before_the_first_token(decoder, arguments, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        generate(decoder, [1, 2, 3], **{"count": 1} | arguments)
    assert len(list(generate(decoder, [1, 2, 3], 14))) == 14


# ---- wrong input


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([40], "a token must be from 0 to 39, not 40"),
        ([3, -1], "a token must be from 0 to 39, not -1"),
        ([], "tokens must be a row of one integer or more, not of shape (0,) and dtype float64"),
        ([1.5], "tokens must be a row of one integer or more, not of shape (1,) and dtype float64"),
        (3, "tokens must be a row of one integer or more, not of shape () and dtype int64"),
        ([1] * 17, "the context must be at most 16 tokens, not 17"),
    ],
)
def test_wrong_tokens_are_named(decoder, tokens, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        decoder.forward(tokens)


def test_a_full_context_takes_no_more(decoder):
    decoder.forward([1] * 16)
    with pytest.raises(InputError, match=r"^the context must be at most 16 tokens, not 17$"):
        decoder.forward([1])


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        ("scales", "layers.1.ffn.up", None, "scales lack layers.1.ffn.up"),
        (
            *("scales", "layers.1.ffn.up", math.inf),
            "the scale of layers.1.ffn.up must be finite in float32, not inf",
        ),
        (
            *("scales", "layers.1.ffn.up", 1e39),
            "the scale of layers.1.ffn.up must be finite in float32, not 1e+39",
        ),
        ("floats", "model.norm.weight", None, "floats lack model.norm.weight"),
        (
            *("floats", "model.norm.weight", np.ones(31)),
            "model.norm.weight must be of shape (32,), not (31,)",
        ),
        (
            *("floats", "model.norm.weight", np.full(32, np.nan)),
            "model.norm.weight must be finite in float32",
        ),
        (
            *("floats", "model.norm.weight", np.ones(32, complex)),
            "model.norm.weight must be real numbers, not of dtype complex128",
        ),
        ("trits", "layers.0.attn.o", None, "trits lack layers.0.attn.o"),
        (
            *("trits", "layers.0.attn.o", np.ones((32, 31))),
            "layers.0.attn.o must have k = 32, but its trits are (32, 31)",
        ),
        (
            *("trits", "layers.0.attn.o", np.ones((31, 32))),
            "psums of layers.0.attn.o must be of shape (1, 32), not (1, 31)",
        ),
        ("trits", "layers.0.attn.o", np.full((32, 32), 2), "trits must be -1, 0 or +1, not 2"),
        (
            *("floats", "model.norm.weight", np.full(32, 1e38)),
            "logits must be finite in float32: a scale or a float is too large",
        ),
    ],
)
def test_wrong_weights_are_named(kind, name, value, message):
    shape = DecoderShape(**SHAPE)
    weights = dict(zip(("trits", "scales", "floats"), parameters(shape), strict=True))
    del weights[kind][name]
    if value is not None:
        weights[kind][name] = value
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Decoder(shape, product=golden_product(weights.pop("trits")), **weights).forward([1])


def test_a_scale_that_overflows_inside_is_an_input_error(decoder):
    trits, scales, floats = parameters(decoder.shape)
    scales["layers.0.attn.v"] = 3e38
    large = Decoder(decoder.shape, scales=scales, floats=floats, product=golden_product(trits))
    with pytest.raises(InputError, match=r"^acts must be finite in float32, but "):
        large.forward([1, 2])


def test_bfloat16_tensors_are_taken():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="has bfloat16")
    shape = DecoderShape(**SHAPE)
    trits, scales, floats = parameters(shape)
    short = {name: values.astype(ml_dtypes.bfloat16) for name, values in floats.items()}
    back = {name: values.astype(np.float32) for name, values in short.items()}
    logits = [
        Decoder(shape, scales=scales, floats=f, product=golden_product(trits)).forward([1, 2])
        for f in (short, back)
    ]
    assert np.array_equal(*logits)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"activation": "gelu"}, "activation must be silu or relu2, not 'gelu'"),
        ({"head_dim": 7}, "head_dim must be even, not 7"),
        ({"kv_heads": 3}, "kv_heads must divide heads = 4, not 3"),
        ({"vocab": 0}, "vocab must be at least 1, not 0"),
        ({"max_context": 0}, "max_context must be at least 1, not 0"),
        ({"rope_theta": 0.0}, "rope_theta must be above 0 and finite, not 0.0"),
        ({"norm_epsilon": math.nan}, "norm_epsilon must be above 0 and finite, not nan"),
    ],
)
def test_wrong_shapes_are_named(changed, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        DecoderShape(**SHAPE | changed)


# ---- config.json


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        ({"head_dim": 6}, {"head_dim": 6}),
        ({"num_key_value_heads": None}, {"kv_heads": 4}),
        ({"hidden_act": "relu2", "tie_word_embeddings": False}, {"activation": "relu2", "tied": 0}),
        ({"rope_scaling": None, "rope_theta": 500_000}, {"rope_theta": 5e5}),
        ({"rope_scaling": {"type": "default"}}, {}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, {"rope_theta": 7.0}),
        ({"quantization_config": {"quant_method": "bitnet", "use_rms_norm": False}}, {}),
    ],
)
def test_config_becomes_a_shape(changed, expected):
    assert DecoderShape.from_config(CONFIG | changed) == DecoderShape(**SHAPE | expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "llama"}, "model_type must be bitnet, not 'llama'"),
        ({"hidden_size": None}, "has no hidden_size"),
        ({"max_position_embeddings": None}, "has no max_position_embeddings"),
        ({"rms_norm_eps": None}, "has no rms_norm_eps"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps must be a number, not 'small'"),
        ({"rms_norm_eps": 0}, "rms_norm_eps must be above 0 and finite, not 0"),
        ({"rope_theta": None}, "has no rope_theta"),
        ({"rope_parameters": [1]}, "rope_parameters must be an object, not [1]"),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            "rope_scaling must be of rope_type default, not 'linear'",
        ),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
            "rope_parameters must be of rope_type default, not 'yarn'",
        ),
        ({"hidden_act": "gelu"}, "activation must be silu or relu2, not 'gelu'"),
        ({"attention_bias": True}, "asks for a bias, which this decoder does not have"),
        ({"sliding_window": 8}, "asks for a sliding window, which this decoder does not have"),
        (
            {"final_logit_softcapping": 30.0},
            "asks for a soft cap, which this decoder does not have",
        ),
        (
            {"quantization_config": {"use_rms_norm": True}},
            "asks for a norm inside its linear layers, which this decoder does not have",
        ),
    ],
)
def test_a_config_that_is_no_such_decoder_is_named(changed, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        DecoderShape.from_config(CONFIG | changed)
