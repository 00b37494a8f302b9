import importlib.util
import json
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import settings
from safetensors.numpy import save_file

# No deadline: the machines that run this are shared, and a slow example is no failure.
# Derandomised: the same examples in every run, as with the seeded generators.
settings.register_profile("tritloom", deadline=None, derandomize=True)
settings.load_profile("tritloom")


TORCH = ("torch", "transformers", "accelerate")


def pytest_collection_modifyitems(items):
    """Tests marked `torch` are skipped where the extra is not installed."""
    missing = [name for name in TORCH if importlib.util.find_spec(name) is None]
    if missing:
        skipped = pytest.mark.skip(reason=f"not installed: {', '.join(missing)}: make test-torch")
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(skipped)


class TinyBitnet:
    """A BitNet of two layers, made of random trits, with what files of either kind hold of it.

    Attributes
    ----------
    config : dict
        As Hugging Face's config.json.
    trits, scales : dict
        By our names of matrices; scales are BF16 numbers, so that every format keeps them.
    floats : dict of str to ndarray of float32
        By Hugging Face's names; BF16 numbers.
    """

    LINEARS = (
        ("attn.q", "self_attn.q_proj", "attn_q", "h", "q"),
        ("attn.k", "self_attn.k_proj", "attn_k", "h", "kv"),
        ("attn.v", "self_attn.v_proj", "attn_v", "h", "kv"),
        ("attn.o", "self_attn.o_proj", "attn_output", "q", "h"),
        ("ffn.gate", "mlp.gate_proj", "ffn_gate", "h", "f"),
        ("ffn.up", "mlp.up_proj", "ffn_up", "h", "f"),
        ("ffn.down", "mlp.down_proj", "ffn_down", "f", "h"),
    )
    NORMS = (
        ("input_layernorm", "attn_norm", "h"),
        ("post_attention_layernorm", "ffn_norm", "h"),
        ("self_attn.attn_sub_norm", "attn_sub_norm", "q"),
        ("mlp.ffn_sub_norm", "ffn_sub_norm", "f"),
    )
    LAYERS = 2

    def __init__(self, *, hidden=8, ffn=12, heads=2, kv_heads=1, vocab=5, tied=True, seed=0):
        rng = np.random.default_rng(seed)
        size = {"h": hidden, "q": hidden, "kv": hidden // heads * kv_heads, "f": ffn}
        self.config = {
            "model_type": "bitnet",
            "hidden_act": "silu",
            "hidden_size": hidden,
            "intermediate_size": ffn,
            "num_hidden_layers": self.LAYERS,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "vocab_size": vocab,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": tied,
            "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
        }

        def normal(*shape):
            return rng.standard_normal(shape).astype(ml_dtypes.bfloat16).astype(np.float32)

        self.trits, self.scales = {}, {}
        self.floats = {"model.embed_tokens.weight": normal(vocab, hidden)}
        self.floats["model.norm.weight"] = normal(hidden)
        if not tied:
            self.floats["lm_head.weight"] = normal(vocab, hidden)
        for i in range(self.LAYERS):
            for name, _, _, k, n in self.LINEARS:
                self.trits[f"layers.{i}.{name}"] = rng.integers(-1, 2, (size[n], size[k]), np.int8)
                self.scales[f"layers.{i}.{name}"] = abs(normal(1))[0] + np.float32(0.5)
            for name, _, width in self.NORMS:
                self.floats[f"model.layers.{i}.{name}.weight"] = normal(size[width])
        self.scales = {
            name: np.float32(ml_dtypes.bfloat16(scale)) for name, scale in self.scales.items()
        }

    def hf_tensors(self):
        """Tensors of a packed checkpoint: uint8 with four trits a byte, all else BF16."""
        found = {name: array.astype(ml_dtypes.bfloat16) for name, array in self.floats.items()}
        for i in range(self.LAYERS):
            for name, known, *_ in self.LINEARS:
                codes = (self.trits[f"layers.{i}.{name}"] + 1).astype(np.uint8)
                rows = len(codes) // 4
                packed = np.zeros((rows, codes.shape[1]), np.uint8)
                for row, code in enumerate(codes):
                    packed[row % rows] |= code << (2 * (row // rows))
                scale = np.array([self.scales[f"layers.{i}.{name}"]], ml_dtypes.bfloat16)
                found[f"model.layers.{i}.{known}.weight"] = packed
                found[f"model.layers.{i}.{known}.weight_scale"] = scale
        return found

    def write_hf(self, folder, tensors=None, *, config=None, name="model.safetensors"):
        """Write config.json and one weight file; returns the folder."""
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config or self.config))
        save_file(tensors or self.hf_tensors(), folder / name)
        return folder


@pytest.fixture(scope="session")
def bitnet_class():
    return TinyBitnet


@pytest.fixture
def tiny():
    return TinyBitnet()


@pytest.fixture
def tiny256():
    """All rows are whole blocks of GGUF's types."""
    return TinyBitnet(hidden=256, ffn=512, heads=4, kv_heads=2, tied=False)


@pytest.fixture
def chromium():
    """Runs a script of PySide6 with a page's path, and reads the JSON that it prints.

    Skips where Chromium is not installed, or lacks a library.
    """
    reason = "PySide6 WebEngine comes with the extra `browser`: make browser"
    pytest.importorskip("PySide6.QtWebEngineCore", reason=reason, exc_type=ImportError)

    def run(script, path, *, scheme="light"):
        dark = f"--blink-settings=preferredColorScheme={'light dark'.find(scheme) == 0:d}"
        environment = {
            **os.environ,
            "QT_QPA_PLATFORM": "offscreen",
            "QTWEBENGINE_DISABLE_SANDBOX": "1",
            "QTWEBENGINE_CHROMIUM_FLAGS": f"--disable-gpu {dark}",
        }
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    return run
