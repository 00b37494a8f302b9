"""A language model whose ternary products the compiled RTL computes."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.counts import array_counts
from tritloom.arch.errors import MismatchError
from tritloom.arch.ternary import TRIT5
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.checkpoints.folder import open_folder
from tritloom.sim.golden.decoder import Decoder, generate, golden_product
from tritloom.sim.golden.decoder_shape import DecoderShape
from tritloom.sim.run import command, speak

CONFIG = ArrayConfig(rows=1, cols=4, lanes=4, max_k=512)
VOCABULARY = [*"abcdefgh ", "\n"]
SHAPE = DecoderShape(
    hidden=16,
    ffn=24,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=4,
    vocab=len(VOCABULARY),
    rope_theta=1e4,
    norm_epsilon=1e-5,
    activation="silu",
    tied=True,
    max_context=64,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A model folder of random weights, imported from what a user would bring."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out") / "small"
    rng = np.random.default_rng(8)
    projections = {"attn": "self_attn.{}_proj", "ffn": "mlp.{}_proj"}
    tensors = {
        name: rng.normal(1 if "norm" in name else 0, 0.3, shape).astype(np.float32)
        for name, shape in SHAPE.floats().items()
    }
    for name, (k, n) in SHAPE.matrices().items():
        _, layer, part, kind = name.split(".")
        tensor = f"model.layers.{layer}.{projections[part].format(kind)}.weight"
        tensors[tensor] = rng.normal(0, 0.1, (n, k)).astype(np.float32)
    save_file(tensors, source / "model.safetensors")
    config = {
        "model_type": "bitnet",
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(VOCABULARY),
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e4,
        "tie_word_embeddings": True,
        "max_position_embeddings": 64,
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "online",
        },
    }
    (source / "config.json").write_text(json.dumps(config))
    (source / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    assert PROGRAM.main(["import", str(source), "-o", str(target)]) == 0
    return target


def golden_text(path, prompt, count, **options):
    folder = open_folder(path)
    decoder = Decoder(
        DecoderShape.from_config(folder.config),
        scales={name: folder.scale(name) for name in folder.matrices},
        floats=folder.floats,
        product=golden_product({name: folder.trits(name) for name in folder.matrices}),
    )
    ids = [folder.vocabulary.index(character) for character in prompt]
    tokens = generate(decoder, ids, count, **options)
    return "".join(folder.vocabulary[token] for token in tokens)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_text_is_the_golden_decoder_s_and_cycles_and_counts_are_the_formulas(
    small, folder, temperature
):
    options = {"temperature": temperature, "seed": 4}
    said = speak.speak(open_folder(small), CONFIG, "bad cab", 6, builds=folder, **options)
    assert said.text == golden_text(small, "bad cab", 6, **options)
    assert said.steps == 5
    for totals, tokens, times in ((said.prompt, 7, 1), (said.decode, 1, 5)):
        for kind, k, n in SHAPE.model.linears():
            plan = make_plan(CONFIG, Gemm(tokens, k, n))
            cycles = timing.core_cycles(plan, TRIT5)
            assert totals[kind].cycles == totals[kind].formula == times * SHAPE.layers * cycles
    plans = [make_plan(CONFIG, Gemm(1, k, n)) for k, n in SHAPE.matrices().values()]
    once = [array_counts(plan, bits_per_trit=8 / 5) for plan in plans]
    assert dict(said.counts) == {
        action: 5 * sum(counts.get(action, 0) for counts in once) for action in said.counts
    }


@pytest.mark.slow
def test_an_array_of_another_shape_says_the_same(small, folder):
    config = ArrayConfig(rows=2, cols=3, lanes=5, max_k=512, dataflow="weight-stationary")
    said = speak.speak(open_folder(small), config, "ab", 4, builds=folder)
    assert said.text == golden_text(small, "ab", 4)


@pytest.mark.slow
def test_a_wrong_psum_is_refused(small, folder, monkeypatch):
    whole = speak.Job.psums

    def flipped(self, rows):
        psums = whole(self, rows)
        psums[0, 3] ^= 1
        return psums

    monkeypatch.setattr(speak.Job, "psums", flipped)
    with pytest.raises(MismatchError, match="1 of 16 outputs differ from the golden model"):
        speak.speak(open_folder(small), CONFIG, "a", 2, builds=folder)


@pytest.mark.slow
def test_a_token_that_is_not_the_golden_decoder_s_is_refused(small, folder, monkeypatch):
    monkeypatch.setattr(
        speak,
        "golden_product",
        lambda trits: golden_product({name: -matrix for name, matrix in trits.items()}),
    )
    with pytest.raises(MismatchError, match=r"^token \d is \d, and \d of the golden decoder$"):
        speak.speak(open_folder(small), CONFIG, "abc", 16, temperature=3.0, builds=folder)


@pytest.mark.slow
def test_the_trained_model_speaks_16_tokens(capsys):
    arguments = ["--tokens", "16", "--temperature", "0"]
    assert PROGRAM.main(["speak", "--prompt", "MACBETH.\nTo ", *arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "MACBETH.\nTo " + golden_text(command.EXAMPLE_MODEL, "MACBETH.\nTo ", 16) + "\n"
    )
    row = re.search(r"^all +(\d+) +([\d,]+) +([\d,]+) ", said, re.MULTILINE)
    assert int(row[1]) == 15 * 35
    assert row[2] == row[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", ""], "the prompt must have at least one character"),
        (["--prompt", "Z"], "the prompt has 'Z', which is not in the vocabulary"),
        (["--tokens", "1"], "tokens must be at least 2, not 1"),
        (["--tokens", "100"], "context"),
        (["--temperature", "-1"], "temperature must be a finite number from 0, not -1.0"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
        (["--model", "nowhere"], "nowhere"),
        (["--preset", "huge"], "unknown preset 'huge'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line(small, arguments, message, capsys):
    capsys.readouterr()
    defaults = ["--model", str(small), "--prompt", "a", "--tokens", "4", "--preset", "tiny"]
    assert PROGRAM.main(["speak", *defaults, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("python -m sim speak: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_the_example_speaks_from_any_folder_of_a_checkout(tmp_path, monkeypatch):
    assert command.example_model() == command.EXAMPLE_MODEL
    monkeypatch.chdir(tmp_path)
    assert (command.example_model() / "manifest.json").is_file()


def test_without_a_checkout_a_model_must_be_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "EXAMPLE_MODEL", tmp_path / "nowhere")
    assert PROGRAM.main(["speak", "--prompt", "a"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("python -m sim speak: error: the package brings no model that speaks")


def test_matrices_alone_do_not_speak(tmp_path, capsys):
    np.save(tmp_path / "w.npy", np.eye(4, dtype=np.float32))
    assert PROGRAM.main(["import", str(tmp_path / "w.npy"), "-o", str(tmp_path / "out")]) == 0
    assert PROGRAM.main(["speak", "--prompt", "a", "--model", str(tmp_path / "out")]) == 2
    assert "has no config.json: it holds matrices" in capsys.readouterr().err
