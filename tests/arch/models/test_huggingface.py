"""arch.models.huggingface: published config.json files against the published numbers of parameters.

The configs hold the facts of the checkpoints' own files, without what no shape depends on.
"""

import json
import re
from pathlib import Path

import pytest

from tritloom.arch.errors import InputError
from tritloom.arch.models.huggingface import FAMILIES, read_config
from tritloom.arch.models.trace import build_trace

LLAMA2_7B = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
LLAMA3_8B = LLAMA2_7B | {
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_key_value_heads": 8,
    "attention_bias": False,
    "mlp_bias": False,
    "vocab_size": 128256,
}
LLAMA3_1B = LLAMA3_8B | {
    "head_dim": 64,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "tie_word_embeddings": True,
}
MISTRAL_7B = {
    "architectures": ["MistralForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
MIXTRAL_8X7B = MISTRAL_7B | {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
    "sliding_window": None,
}
QWEN2_HALF_B = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 24,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN2_7B = QWEN2_HALF_B | {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_window_layers": 28,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
}
QWEN2_MOE = QWEN2_HALF_B | {
    "architectures": ["Qwen2MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "model_type": "qwen2_moe",
    "moe_intermediate_size": 1408,
    "num_attention_heads": 16,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "num_key_value_heads": 16,
    "shared_expert_intermediate_size": 5632,
    "tie_word_embeddings": False,
}
QWEN3_8B = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "max_window_layers": 36,
    "model_type": "qwen3",
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_06B = QWEN3_8B | {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "tie_word_embeddings": True,
}
QWEN3_30B_A3B = QWEN3_8B | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_window_layers": 48,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
}
GEMMA_2B = {
    "architectures": ["GemmaForCausalLM"],
    "attention_bias": False,
    "head_dim": 256,
    "hidden_act": "gelu",
    "hidden_activation": None,
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "max_position_embeddings": 8192,
    "model_type": "gemma",
    "num_attention_heads": 8,
    "num_hidden_layers": 18,
    "num_key_value_heads": 1,
    "vocab_size": 256000,
}
GEMMA_7B = GEMMA_2B | {
    "hidden_size": 3072,
    "intermediate_size": 24576,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 16,
}
GEMMA2_2B = GEMMA_2B | {
    "architectures": ["Gemma2ForCausalLM"],
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "model_type": "gemma2",
    "num_hidden_layers": 26,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
}
GEMMA2_27B = GEMMA2_2B | {
    "head_dim": 128,
    "hidden_size": 4608,
    "intermediate_size": 36864,
    "num_attention_heads": 32,
    "num_hidden_layers": 46,
    "num_key_value_heads": 16,
}
GEMMA3_1B = {
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "max_position_embeddings": 32768,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 26,
    "num_key_value_heads": 1,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "vocab_size": 262144,
}
# Leaves out all that its class has a default for.
GEMMA3_4B = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
}
BITNET_2B4T = {
    "architectures": ["BitNetForCausalLM"],
    "hidden_act": "relu2",
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "max_position_embeddings": 4096,
    "model_type": "bitnet",
    "num_attention_heads": 20,
    "num_hidden_layers": 30,
    "num_key_value_heads": 5,
    "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}
BITNET_3B = {
    "architectures": ["BitnetForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 3200,
    "input_bits": 8,
    "intermediate_size": 8640,
    "max_position_embeddings": 2048,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 26,
    "num_key_value_heads": 32,
    "tie_word_embeddings": True,
    "vocab_size": 32002,
    "weight_bits": 1,
}

# What the checkpoints' own safetensors hold, a tied head counted once.
PUBLISHED = {
    "llama2-7b": (LLAMA2_7B, 6_738_415_616),
    "llama3.1-8b": (LLAMA3_8B, 8_030_261_248),
    "llama3.2-1b": (LLAMA3_1B, 1_235_814_400),
    "mistral-7b": (MISTRAL_7B, 7_241_732_096),
    "mixtral-8x7b": (MIXTRAL_8X7B, 46_702_792_704),
    "qwen2.5-0.5b": (QWEN2_HALF_B, 494_032_768),
    "qwen2.5-7b": (QWEN2_7B, 7_615_616_512),
    "qwen1.5-moe-a2.7b": (QWEN2_MOE, 14_315_784_192),
    "qwen3-0.6b": (QWEN3_06B, 596_049_920),
    "qwen3-8b": (QWEN3_8B, 8_190_735_360),
    "qwen3-30b-a3b": (QWEN3_30B_A3B, 30_532_122_624),
    "gemma-2b": (GEMMA_2B, 2_506_172_416),
    "gemma-7b": (GEMMA_7B, 8_537_680_896),
    "gemma2-2b": (GEMMA2_2B, 2_614_341_888),
    "gemma2-27b": (GEMMA2_27B, 27_227_128_320),
    "gemma3-1b": (GEMMA3_1B, 999_885_952),
    # All 4,300,079,472 less the vision tower's 416,866,032 and the projector's 2,950,272.
    "gemma3-4b": (GEMMA3_4B, 3_880_263_168),
    "bitnet-2b4t": (BITNET_2B4T, 2_412_820_480),
}


def written(path, config):
    path.write_text(json.dumps(config))
    return path


def without(config, key):
    return {k: v for k, v in config.items() if k != key}


def model(tmp_path, config):
    return read_config(written(tmp_path / "config.json", config))


@pytest.mark.parametrize("name", PUBLISHED)
def test_config_has_the_published_number_of_parameters(tmp_path, name):
    config, parameters = PUBLISHED[name]
    assert model(tmp_path, config).parameters == parameters


def test_every_family_is_held_to_a_published_number():
    types = {config["model_type"] for config, _ in PUBLISHED.values()}
    assert types == {*FAMILIES, "gemma3"}


def test_docs_state_published_numbers_for_every_family():
    docs = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    stated = re.findall(r"^\| `(\w+)` \| .* \| ([\d,]+) \|$", docs, re.MULTILINE)
    rows = {(kind, int(number.replace(",", ""))) for kind, number in stated}
    assert rows <= {(config["model_type"], number) for config, number in PUBLISHED.values()}
    assert {kind for kind, _ in rows} == {*FAMILIES, "gemma3"}


def test_folder_and_file_are_read_alike(tmp_path):
    folder = tmp_path / "Some-7B"
    folder.mkdir()
    path = written(folder / "config.json", LLAMA2_7B)
    assert read_config(folder) == read_config(path)
    assert read_config(folder).name == "Some-7B"
    assert read_config(written(tmp_path / "other.json", LLAMA2_7B)).name == "other"


def test_bitnet_2b4t_is_as_its_card_says(tmp_path):
    bitnet = model(tmp_path, BITNET_2B4T)
    # Of 69,468,160 packed trits in the checkpoint, block by block.
    assert bitnet.block_weights == 30 * 69_468_160
    assert (bitnet.weight, bitnet.activation, bitnet.sub_norms) == ("ternary", "relu2", True)
    assert (bitnet.kv_features, bitnet.tied, bitnet.max_context) == (640, True, 4096)
    names = {v.name for v in build_trace(bitnet, weight="ternary").vectors}
    assert {"attn.sub_norm", "ffn.sub_norm"} <= names


@pytest.mark.parametrize(
    ("config", "weight", "sub_norms"),
    [
        (LLAMA3_8B, "fp16", False),
        (LLAMA3_8B | {"quantization_config": {"quant_method": "bitnet"}}, "ternary", False),
        (LLAMA3_8B | {"quantization_config": {"quant_method": "awq"}}, "fp16", False),
        (LLAMA3_8B | {"quantization_config": None}, "fp16", False),
        (BITNET_3B, "ternary", True),
        (BITNET_2B4T, "ternary", True),
    ],
)
def test_a_bitnet_is_told_by_type_architecture_or_quantisation(tmp_path, config, weight, sub_norms):
    found = model(tmp_path, config)
    assert (found.weight, found.sub_norms) == (weight, sub_norms)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA2_7B, (None, 0)),
        (MISTRAL_7B, (4096, 32)),
        (MISTRAL_7B | {"sliding_window": None}, (None, 0)),
        (MIXTRAL_8X7B, (None, 0)),
        (QWEN2_7B, (None, 0)),
        (QWEN2_7B | {"use_sliding_window": True, "max_window_layers": 20}, (32768, 8)),
        (QWEN2_7B | {"use_sliding_window": True, "max_window_layers": 70}, (None, 0)),
        (GEMMA_2B, (None, 0)),
        (GEMMA2_2B, (4096, 13)),
        (GEMMA2_2B | {"layer_types": ["full_attention"] * 26}, (None, 0)),
        (GEMMA3_1B, (512, 22)),  # blocks 6, 12, 18 and 24 see everything
        (GEMMA3_4B, (1024, 29)),
        (
            GEMMA3_1B | {"layer_types": ["sliding_attention"] * 25 + ["full_attention"]},
            (512, 25),
        ),
    ],
)
def test_windows_are_those_of_the_published_pattern(tmp_path, config, expected):
    found = model(tmp_path, config)
    assert (found.window, found.windowed_layers) == expected


def test_windowed_blocks_agree_with_a_walk_over_gemma_3s_blocks(tmp_path):
    for pattern in range(1, 9):
        found = model(tmp_path, GEMMA3_1B | {"sliding_window_pattern": pattern})
        assert found.windowed_layers == sum(bool((i + 1) % pattern) for i in range(26))


@pytest.mark.parametrize(
    "config", [without(LLAMA2_7B, "num_key_value_heads"), QWEN2_7B | {"num_key_value_heads": None}]
)
def test_heads_without_groups_have_keys_of_their_own(tmp_path, config):
    found = model(tmp_path, config)
    assert found.kv_heads == found.heads


def test_mixture_of_experts_is_read(tmp_path):
    mixtral = model(tmp_path, MIXTRAL_8X7B)
    assert (mixtral.experts, mixtral.experts_per_token, mixtral.expert_ffn) == (8, 2, 14336)
    qwen = model(tmp_path, QWEN2_MOE)
    assert (qwen.experts, qwen.experts_per_token, qwen.expert_ffn) == (60, 4, 1408)
    assert (qwen.shared_ffn, qwen.dense_layers) == (5632, 0)
    some = model(tmp_path, QWEN3_30B_A3B | {"mlp_only_layers": [1], "decoder_sparse_step": 2})
    assert some.expert_layers == sum(i % 2 == 1 and i != 1 for i in range(48)) == 23


def test_qwen3_30b_a3b_runs_3_billion_of_its_parameters_a_token(tmp_path):
    qwen = model(tmp_path, QWEN3_30B_A3B)
    trace = build_trace(qwen, weight="fp16", phase="decode")
    active = sum(x.touched * x.gemm.k * x.gemm.n for x in trace if x.trained)
    # "3.3B activated" and "29.9B non-embedding" on its card; the input table is not read whole.
    assert active + qwen.vocab * qwen.hidden == pytest.approx(3.3e9, rel=0.02)
    assert qwen.block_weights == pytest.approx(29.9e9, rel=0.002)


def test_a_config_may_have_biases(tmp_path):
    assert model(tmp_path, QWEN2_7B).biases == ("attn.q", "attn.k", "attn.v")
    assert model(tmp_path, QWEN2_MOE | {"qkv_bias": False}).biases == ()
    assert model(tmp_path, LLAMA3_8B | {"attention_bias": True, "mlp_bias": True}).biases == (
        *("attn.q", "attn.k", "attn.v", "attn.o"),
        *("ffn.gate", "ffn.up", "ffn.down"),
    )


def test_gemma_caps_and_scales(tmp_path):
    gemma = model(tmp_path, GEMMA2_2B)
    assert (gemma.capped, gemma.embedding_scaled) == (("attn.qk", "lm_head"), True)
    assert (gemma.activation, gemma.post_norms, gemma.tied) == ("gelu", True, True)
    assert model(tmp_path, GEMMA3_1B).capped == ()
    assert model(tmp_path, GEMMA2_2B | {"hidden_act": "relu"}).activation == "gelu"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (without(LLAMA2_7B, "hidden_size"), "has no hidden_size"),
        (without(LLAMA2_7B, "model_type"), "has no model_type"),
        (without(QWEN2_7B, "num_key_value_heads"), "has no num_key_value_heads"),
        (without(LLAMA2_7B, "hidden_act"), "has no hidden_act"),
        (LLAMA2_7B | {"vocab_size": None}, "has no vocab_size"),
        (LLAMA2_7B | {"vocab_size": "32000"}, "vocab_size must be an integer, not '32000'"),
        (LLAMA2_7B | {"vocab_size": 32000.0}, "vocab_size must be an integer, not 32000.0"),
        (LLAMA2_7B | {"num_hidden_layers": True}, "num_hidden_layers must be an integer, not True"),
        (LLAMA2_7B | {"hidden_size": 0}, "hidden_size must be at least 1, not 0"),
        (
            LLAMA2_7B | {"num_hidden_layers": 1 << 60},
            "num_hidden_layers must be at most 65536, not 1152921504606846976",
        ),
        (LLAMA2_7B | {"num_key_value_heads": 5}, "kv_heads must divide heads = 32, not 5"),
        (
            LLAMA2_7B | {"tie_word_embeddings": 1},
            "tie_word_embeddings must be true or false, not 1",
        ),
        (LLAMA2_7B | {"tie_word_embeddings": []}, "tie_word_embeddings must be true or false"),
        (LLAMA2_7B | {"hidden_act": "elu"}, "hidden_act must be one of silu, swish, gelu"),
        (LLAMA2_7B | {"hidden_act": ["silu"]}, "hidden_act must be one of silu"),
        (LLAMA2_7B | {"architectures": "x"}, "architectures must be a list, not 'x'"),
        (LLAMA2_7B | {"quantization_config": 4}, "quantization_config must be an object, not 4"),
        (LLAMA2_7B | {"model_type": "gpt2"}, "model_type must be one of bitnet, gemma, gemma2, "),
        (LLAMA2_7B | {"model_type": ["llama"]}, "model_type must be one of bitnet"),
        (without(GEMMA3_4B, "text_config"), "text_config must be an object, not None"),
        (
            GEMMA3_1B | {"layer_types": ["full_attention"]},
            "layer_types must have 26 entries, not 1",
        ),
        (
            GEMMA3_1B | {"layer_types": ["chunked_attention"]},
            "layer_types[0] must be full_attention or sliding_attention, not 'chunked_attention'",
        ),
        (GEMMA3_1B | {"sliding_window": -1}, "sliding_window must be at least 1, not -1"),
        (QWEN3_30B_A3B | {"mlp_only_layers": ["x"]}, "mlp_only_layers must be an integer, not 'x'"),
        (
            MIXTRAL_8X7B | {"num_experts_per_tok": 9},
            "experts_per_token must be at most 8, not 9",
        ),
    ],
)
def test_a_wrong_config_is_named_with_file_and_key(tmp_path, config, message):
    path = written(tmp_path / "config.json", config)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {message}')}"):
        read_config(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON: "),
        (b"\xff\xfe", "is not JSON: "),
        (
            b'{"model_type": "llama", "model_type": "bitnet"}',
            "is not JSON: model_type is there twice",
        ),
        (b"[1]", "must hold a JSON object, not [1]"),
        (b"[" * 100_000, "is not JSON: "),
    ],
    ids=["open", "bytes", "twice", "list", "deep"],
)
def test_a_file_that_is_no_config_is_named(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path} {message}')}"):
        read_config(path)


def test_a_byte_order_mark_is_fine(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA2_7B), encoding="utf-8")
    plain = read_config(path)
    path.write_text(json.dumps(LLAMA2_7B), encoding="utf-8-sig")
    assert read_config(path) == plain


def test_a_folder_without_a_config_is_named(tmp_path):
    with pytest.raises(
        InputError, match=f"^cannot read {re.escape(str(tmp_path))}/config.json: No"
    ):
        read_config(tmp_path)
