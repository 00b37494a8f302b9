"""`python -m energy_model`: output in every format, and one line for bad input."""

import csv
import io
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tritloom.arch.config import preset
from tritloom.arch.counts import array_counts
from tritloom.arch.models.known import MODELS
from tritloom.arch.models.trace import build_trace
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm
from tritloom.console.sheet import FORMS
from tritloom.energy_model.__main__ import PROGRAM
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.costs.units import si
from tritloom.energy_model.trace.file import read_trace

ROOT = Path(__file__).parents[2]


PAIR = ("70b:ternary", "7b:fp16")


def run(*arguments, stdin=None):
    """A fresh process, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "energy_model", *arguments],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def output(capsys, *arguments):
    assert PROGRAM.main(list(arguments)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def figures_of(node):
    """Every dict with a ratio, however deep."""
    if isinstance(node, dict):
        if "ratio" in node:
            yield node
        for value in node.values():
            yield from figures_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from figures_of(value)


def test_report_prints_the_published_ratios_next_to_its_own():
    done = run("report", "--size", "70b", "--details")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line[:22].strip(): line.split() for line in done.stdout.splitlines()}
    assert lines["Weight products, 7 nm"][-4:] == ["71.4x", "71.4x", "DERIVED", "[1]"]
    assert lines["End-to-end energy, 512"][-4:-2] == ["41.2x", "41.2x"]
    assert lines["Memory"][-4:-2] == ["6.79x", "7.16x"]
    assert lines["Decode latency, batch"][-3] == "4.10x"
    assert "[1] INFERRED dimensions" in done.stdout
    assert not any(line != line.rstrip() for line in done.stdout.splitlines())


def test_report_takes_less_than_a_second_and_a_half_cold():
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        assert run("report", "--size", "70b").returncode == 0
        durations.append(time.perf_counter() - start)
    assert min(durations) < 1.5


def test_report_imports_matplotlib_for_a_plot_only():
    code = (
        "import sys; from tritloom.energy_model.__main__ import PROGRAM; "
        "PROGRAM.main(['report', '--size', '70b', '--layers']); "
        "sys.exit('matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_every_model_prints_in_every_format(capsys, name, form):
    assert output(capsys, "report", "--model", name, "--format", form, "--layers")


def test_json_has_the_keys_and_a_tier_for_each_figure(capsys):
    report = json.loads(output(capsys, "report", "--size", "70B", "--format", "json"))
    assert (report["size"], report["phase"], report["tokens"]) == ("70b", "prefill", 512)
    for key, unit in (("arithmetic", "pj"), ("energy", "j"), ("memory", "gb"), ("latency", "s")):
        figure = report[key]
        llama, bitnet = figure[f"llama_{unit}"], figure[f"bitnet_{unit}"]
        assert figure["ratio"] == pytest.approx(llama / bitnet)
        for row in report["layers"]:
            assert {f"llama_{unit}", f"bitnet_{unit}", "ratio", "tier"} <= set(row[key])
    assert report["arithmetic"]["ratio"] == pytest.approx(71.4, abs=0.05)
    assert report["energy"]["ratio"] == pytest.approx(41.2, abs=0.25)
    assert report["memory"]["llama_gb"] == pytest.approx(129.9, rel=0.08)
    assert [row["name"] for row in report["layers"]][-3:] == ["attn.qk", "attn.av", "lm_head"]
    figures = list(figures_of(report))
    assert len(figures) > 50
    assert all(figure["tier"] in list(Tier) for figure in figures)
    assert all(cost["source"] and cost["tier"] for cost in report["costs"]["used"].values())


@pytest.mark.parametrize(("phase", "tokens"), [("prefill", 300), ("decode", 3)])
def test_phase_batch_and_context_reach_the_trace(capsys, phase, tokens):
    arguments = ("--phase", phase, "--batch", "3", "--context", "100", "--format", "json")
    report = json.loads(output(capsys, "report", "--size", "7b", *arguments))
    assert report["tokens"] == tokens
    rows = {row["name"]: row for row in report["layers"]}
    assert rows["attn.q"]["m"] == tokens
    assert rows["attn.qk"]["n"] == 100
    assert rows["attn.qk"]["count"] == 32 * 32 * 3
    assert rows["lm_head"]["m"] == 3


def test_hardware_changes_latency_alone(capsys):
    square, wide = (
        json.loads(output(capsys, "report", "--size", "7b", "--format", "json", "--hardware", name))
        for name in ("64x64x16/4", "large")
    )
    assert square["energy"] == wide["energy"]
    assert square["memory"] == wide["memory"]
    assert wide["latency"]["llama_s"] < square["latency"]["llama_s"]
    assert (wide["hardware"]["rows"], wide["hardware"]["cols"]) == (4, 256)


@pytest.mark.parametrize("hardware", ["a100", "large-ws", "large-int8", "kv260"])
@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_machine_prints_in_every_format(capsys, hardware, form):
    assert output(capsys, "report", "--size", "7b", "--hardware", hardware, "--format", form)


def test_a_machine_is_a_file_too(capsys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("title: mine\narray: {preset: tiny}\nmemory: {dram: ddr4_2400}\n")
    arguments = ("report", "--size", "7b", "--hardware", str(path), "--format", "json")
    hardware = json.loads(output(capsys, *arguments))["hardware"]
    assert (hardware["name"], hardware["rows"], hardware["dram"]["name"]) == (
        *("mine", 2),
        "ddr4_2400",
    )


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_headline_sets_the_whole_machine_beside_the_papers_arithmetic(capsys, phase):
    arguments = ("report", "--size", "70b", "--phase", phase)
    report = json.loads(output(capsys, *arguments, "--format", "json"))
    headlines = {headline["phase"]: headline for headline in report["headlines"]}
    assert set(headlines) == {phase, "decode"}
    for name, headline in headlines.items():
        system = report[f"system_{name}"]
        low, high = system["ratio_range"]
        assert headline["system"] == {"low": low, "nominal": system["ratio"], "high": high}
        assert headline["arithmetic"]["nominal"] == report["energy"]["ratio"]
        for side, (line, share) in zip(("llama", "bitnet"), headline["largest"], strict=True):
            joules = {key: part[f"{side}_j"] for key, part in system["parts"].items()}
            assert line == max(joules, key=joules.get)
            assert share == pytest.approx(joules[line] / math.fsum(joules.values()))
        # Bits moved: no more than 8x, far from 41.2x.
        assert 7 < low <= system["ratio"] <= high < 8
    text = output(capsys, *arguments)
    energy, paper, *machine = text.split("\n\n")[1].splitlines()
    assert energy.startswith("Energy, FP16 LLaMA / BitNet b1.58")
    assert paper.split()[-5:] == ["41.2x", "41.2x", "41.2x", "41.2x", "DERIVED"]
    for line, name in zip(machine, headlines, strict=True):
        found = headlines[name]["system"]
        shown = [f"{found[level]:.2f}x" for level in ("low", "nominal", "high")]
        assert line.split()[-4:] == [*shown, "INFERRED"]
    assert text.split("\n\n")[2].count("at most 8.0x at 2 bits a weight") == len(headlines)


@pytest.mark.parametrize("hardware", ["large", "a100", "phone"])
@pytest.mark.parametrize("size", ["3b", "70b"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_report_fits_a_hundred_columns_and_hides_small_lines_only(capsys, size, hardware, phase):
    arguments = ("report", "--size", size, "--hardware", hardware, "--phase", phase)
    text = output(capsys, *arguments)
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) < 40
    system = json.loads(output(capsys, *arguments, "--format", "json"))[f"system_{phase}"]
    parts = system["parts"].values()
    large = [
        any(part[side] >= 0.01 * system[side] for side in ("llama_j", "bitnet_j")) for part in parts
    ]
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert len(lines) == sum(large) + 1
    assert lines[-1] == f"  {large.count(False)} lines below 1%"
    everything = output(capsys, *arguments, "--details")
    assert all(f"\n{line[:24].rstrip()}" in everything for line in lines[:-1])
    assert "] PUBLISHED ratios" in everything


def test_the_header_names_what_a_model_of_experts_has(capsys, tmp_path):
    config = {
        "model_type": "mixtral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 96,
        "vocab_size": 32000,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "sliding_window": 4096,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    text = output(capsys, "report", "--model", str(path))
    header = " ".join(text[text.index("model: ") : text.index("hardware large:")].split())
    assert "8 experts of 14336, 2 a token" in header
    assert "32 heads of 96 (8 for keys and values)" in header
    assert "window 4096, " in header
    assert "feed-forward" not in header
    model = json.loads(output(capsys, "report", "--model", str(path), "--format", "json"))["model"]
    assert (model["experts"], model["head_dim"], model["window"]) == (8, 96, 4096)


def test_the_readme_shows_what_is_printed():
    command = "python -m energy_model report --size 70b"
    _, _, rest = (ROOT / "README.md").read_text().partition(f"`{command}`:\n\n```\n")
    shown, _, _ = rest.partition("```\n")
    assert shown == run(*command.split()[3:]).stdout


def test_leakage_is_a_parameter_and_printed_as_one(capsys):
    arguments = ("report", "--size", "7b", "--phase", "decode")
    assert "static power: 0 W, a free parameter" in output(capsys, *arguments)
    leaking = output(capsys, *arguments, "--leakage", "20")
    assert "static power: 20 W, as given" in leaking
    report = json.loads(output(capsys, *arguments, "--leakage", "20", "--format", "json"))
    static = report["system_decode"]["parts"]["static"]
    assert static["llama_j"] == pytest.approx(20 * report["latency"]["llama_s"])
    assert static["tier"] == "INFERRED"


@pytest.mark.parametrize(
    "arguments", [("report", "--size", "7b", "--layers"), ("compare",), ("compare", *PAIR)]
)
def test_markdown_is_tables_of_one_width(capsys, arguments):
    text = output(capsys, *arguments, "--format", "markdown")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert tables
    for header, rule, *rows in tables:
        assert set(rule) <= set("|-: ")
        assert rows
        assert {line.count("|") for line in (header, rule, *rows)} == {header.count("|")}
        assert not any(set(row) <= set("|-") for row in rows)


def test_compare_checks_the_scaling_law(capsys):
    text = output(capsys, "compare")
    assert all(name in text for name in ("13b:ternary", "3b:fp16", "30b:ternary", "70b:ternary"))
    assert text.count("holds") == 15
    found = json.loads(output(capsys, "compare", "--hardware", "a100", "--format", "json"))
    assert [pair["system_prefill"]["verdict"] for pair in found["pairs"]] == ["fails"] * 3
    assert "2402.17764" in found["claim"]


def test_compare_takes_a_pair_of_ones_own(capsys):
    arguments = ("compare", "70b:ternary", "7b:fp16", "--batch", "4")
    lines = list(csv.DictReader(io.StringIO(output(capsys, *arguments, "--format", "csv"))))
    (found,) = json.loads(output(capsys, *arguments, "--format", "json"))["pairs"]
    for line in lines:
        measure = found[line["quantity"]]
        assert float(line["ratio_nominal"]) == measure["ratio"]["nominal"]
        assert float(line["of_first_nominal"]) == measure["first"]["nominal"]
        assert line["verdict"] == measure["verdict"]
    assert {line["quantity"] for line in lines} == {*found} - {"first", "second"}


def test_csv_agrees_with_json(capsys):
    report = json.loads(output(capsys, "report", "--size", "13b", "--format", "json"))
    text = output(capsys, "report", "--size", "13b", "--format", "csv", "--layers")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert all(None not in line and line["tier"] in list(Tier) for line in lines)
    layers = {row["name"]: row for row in report["layers"]}
    for line in lines:
        node = report if line["layer"] == "total" else layers[line["layer"]]
        figure = node[line["figure"]]
        if line["part"]:
            figure = figure["parts"][line["part"]]
        assert float(line["llama"]) == figure[f"llama_{line['unit']}"]
        assert float(line["bitnet"]) == figure[f"bitnet_{line['unit']}"]
    assert {line["layer"] for line in lines} == {"total", *layers}
    alone = output(capsys, "report", "--size", "13b", "--format", "csv")
    assert {line["layer"] for line in csv.DictReader(io.StringIO(alone))} == {"total"}


def test_layers_are_printed_on_request(capsys):
    with_layers = output(capsys, "report", "--size", "7b", "--layers")
    assert with_layers.count("ffn.down") == 4
    assert with_layers.count("lm_head") == 2  # memory and latency: outside figure 3's scope
    assert "ffn.down" not in output(capsys, "report", "--size", "7b")


def test_a_spread_of_costs_is_printed(capsys, tmp_path):
    path = tmp_path / "spread.yaml"
    line = "{low: 1, nominal: 2, high: 4, unit: pJ, source: here, tier: PROJECTED}"
    path.write_text(
        f"name: spread\nnode: 3 nm\ncosts:\n  add_int8: {line}\n"
        f"  add_fp16: {line}\n  mul_fp16: {line}\n"
    )
    table = output(capsys, "report", "--size", "7b", "--costs", str(path), "-v")
    assert "2.00x (0.50x to 8.00x)" in table
    assert "PROJECTED" in table
    arguments = ("report", "--size", "7b", "--costs", str(path), "--format", "json")
    arithmetic = json.loads(output(capsys, *arguments))["arithmetic"]
    assert arithmetic["ratio_range"] == pytest.approx([0.5, 8])
    low, high = arithmetic["llama_pj_range"]
    assert high / low == pytest.approx(4)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_is_written_whole_and_alone(capsys, tmp_path, suffix):
    path = tmp_path / f"report.{suffix}"
    output(capsys, "report", "--size", "70b", "--plot", str(path))
    assert list(tmp_path.iterdir()) == [path]
    start = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml"}[suffix]
    content = path.read_bytes()
    assert content.startswith(start)
    assert len(content) > 20_000
    if suffix == "svg":
        assert b"</svg>" in content


def test_plot_shows_four_panels_with_ratios(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    pictures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: pictures.append(self))
    assert PROGRAM.main(["report", "--size", "70b", "--plot", str(tmp_path / "x.png")]) == 0
    energy, by_layer, memory, latency = pictures[0].axes
    assert [t.get_text() for t in energy.texts[:3]] == ["71.4x", "1.00x", "41.2x"]
    assert len(by_layer.patches) == 2 * 10
    assert len(memory.patches) == 2 * 6
    assert len(latency.patches) == 2 * 11
    widths = [patch.get_width() for patch in by_layer.patches]
    assert sum(widths[:9]) == pytest.approx(widths[9])


# Mistral 7B's, as its checkpoint has it.
MISTRAL = {
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
    "vocab_size": 32000,
}


@pytest.fixture
def mistral(tmp_path):
    folder = tmp_path / "Mistral-7B-v0.1"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(MISTRAL))
    return folder


@pytest.mark.parametrize("file", ["", "config.json"])
def test_report_takes_a_config_or_its_folder(capsys, mistral, file):
    arguments = ("report", "--model", str(mistral / file), "--context", "8192", "--format", "json")
    report = json.loads(output(capsys, *arguments))
    assert (report["size"], report["model"]["kv_heads"]) == ("Mistral-7B-v0.1", 8)
    # Keys and values of the window only: 32 blocks, 4096 tokens, 8 heads of 128, 2 bytes.
    cache = report["memory"]["parts"]["kv_cache"]
    assert cache["llama_gb"] == pytest.approx(2 * 32 * 4096 * 1024 * 2 / 1e9)


def test_a_folder_that_is_named_like_a_size_has_no_published_ratios(capsys, tmp_path):
    (tmp_path / "70b").mkdir()
    (tmp_path / "70b" / "config.json").write_text(json.dumps(MISTRAL))
    table = output(capsys, "report", "--model", str(tmp_path / "70b"))
    line = next(line for line in table.splitlines() if line.startswith("End-to-end energy"))
    assert line.count("x ") == 1


def test_quantised_cache_and_head_take_their_bytes(capsys):
    plain, small = (
        json.loads(output(capsys, "report", "--size", "7b", "--format", "json", *more))["memory"]
        for more in ((), ("--kv-cache", "int4", "--lm-head", "int8"))
    )
    for part, factor in (("kv_cache", 4), ("head", 2), ("embedding", 1), ("weights", 1)):
        before, after = (memory["parts"][part]["bitnet_gb"] for memory in (plain, small))
        assert before == pytest.approx(factor * after)
    assert "published" in plain
    assert "published" not in small
    text = output(capsys, "report", "--size", "7b", "--kv-cache", "int4", "--lm-head", "int8")
    assert "key-value cache int4, output head int8" in text
    assert "4.40x" not in text


def test_trace_is_written_to_a_file_or_to_standard_output(capsys, tmp_path):
    path = tmp_path / "7b.yaml"
    arguments = ("trace", "--size", "7b", "--phase", "decode", "--context", "4096")
    text = output(capsys, *arguments)
    assert output(capsys, *arguments, "--out", str(path)) == ""
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]
    expected = build_trace(MODELS["7b"], weight="ternary", phase="decode", context=4096)
    assert read_trace(path) == expected


def test_trace_takes_every_option_of_the_workload(capsys, tmp_path):
    path = tmp_path / "x.yaml"
    work = ("--phase", "prefill", "--batch", "3", "--context", "7", "--kv-cache", "int8")
    more = ("--lm-head", "ternary", "--weight", "fp16", "--out", str(path))
    output(capsys, "trace", "--model", "figure3-3b", *work, *more)
    assert read_trace(path) == build_trace(
        MODELS["figure3-3b"],
        weight="fp16",
        phase="prefill",
        batch=3,
        context=7,
        kv="int8",
        head_weight="ternary",
    )


def test_trace_of_a_config_has_the_checkpoints_weights(capsys, mistral):
    text = output(capsys, "trace", "--model", str(mistral), "--format", "scalesim")
    assert text.splitlines()[:2] == ["Layer name, M, N, K,", "attn.q*32, 1, 4096, 4096,"]
    assert "weight: ternary" not in output(capsys, "trace", "--model", str(mistral))
    ternary = output(capsys, "trace", "--model", str(mistral), "--weight", "ternary")
    assert "weight: ternary" in ternary


def test_a_context_beyond_the_models_is_noted(capsys, mistral):
    assert PROGRAM.main(["trace", "--model", str(mistral), "--context", "131072"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "note: Mistral-7B-v0.1 is made for 32768 tokens, not 131072\n"
    assert "attn.qk_window, m: 1, k: 128, n: 4096" in captured.out


def bad(capsys, *arguments):
    """Message of a run that must fail: one line on standard error, nothing on standard output."""
    try:
        status = PROGRAM.main(list(arguments))
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    return captured.err


SIZE = ("report", "--size", "7b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "COMMAND"),
        (("frob",), "frob"),
        (("report",), "--size --model is required"),
        (("report", "--size", "42b"), "unknown size '42b'; known: 700m, 1.3b"),
        (("report", "--size", "figure3-7b"), "unknown size 'figure3-7b'"),
        (("report", "--size", ""), "unknown size ''"),
        (("report", "--model", "nope"), "unknown model 'nope'; known: 700m"),
        ((*SIZE, "--model", "7b"), "not allowed with"),
        ((*SIZE, "--batch", "0"), "batch must be at least 1, not 0"),
        ((*SIZE, "--batch", "many"), "invalid int value: 'many'"),
        ((*SIZE, "--context", "-3"), "context must be at least 1, not -3"),
        ((*SIZE, "--context", "9" * 30), "context must be at most"),
        ((*SIZE, "--phase", "both"), "'both'"),
        ((*SIZE, "--format", "xml"), "'xml'"),
        ((*SIZE, "--hardware", "huge"), "unknown hardware 'huge'"),
        ((*SIZE, "--costs", "nope"), "unknown costs 'nope'"),
        ((*SIZE, "--costs", "nope.yaml"), "cannot read nope.yaml: No such file or directory"),
        ((*SIZE, "--plot", "/nowhere/x.png"), "cannot write /nowhere/x.png: No such file"),
        ((*SIZE, "--plot", "x.frob"), "cannot plot to x.frob: its suffix must be one of"),
        ((*SIZE, "--plot", "x"), "cannot plot to x: its suffix must be one of"),
        ((*SIZE, "--leakage", "-1"), "leakage must be a finite number of at least 0, not -1"),
        ((*SIZE, "--leakage", "nan"), "leakage must be a finite number of at least 0, not nan"),
        ((*SIZE, "--hardware", "nope.yaml"), "cannot read nope.yaml: No such file or directory"),
        (("compare", "7b:fp16"), "compare takes two models or none, not 1"),
        (("compare", "7b:fp16", "7b"), "'7b' must be the name of a model and :ternary or :fp16"),
        ((*SIZE, "--kv-cache", "int3"), "'int3'"),
        ((*SIZE, "--lm-head", "int4"), "'int4'"),
        (("report", "--model", "nope.json"), "cannot read nope.json: No such file or directory"),
        (("report", "--model", "docs"), "cannot read docs/config.json: No such file or directory"),
        (("trace",), "--size --model is required"),
        (("trace", "--size", "42b"), "unknown size '42b'"),
        (("trace", "--size", "7b", "--weight", "int8"), "'int8'"),
        (("trace", "--size", "7b", "--context", "0"), "context must be at least 1, not 0"),
        (("trace", "--size", "7b", "--format", "json"), "'json'"),
        (("trace", "--size", "7b", "--out", "/nowhere/x"), "cannot write /nowhere/x: No such file"),
        (("ledger", "nope.yaml"), "cannot read nope.yaml: No such file or directory"),
        (("ledger", "pyproject.toml"), "pyproject.toml"),
        (("ledger", "x.csv"), "x.csv states no number format: give --weight"),
        (("ledger", "x.yaml", "--weight", "fp16"), "x.yaml states its number formats: no --weight"),
        (("counts", "nope.json"), "cannot read nope.json: No such file or directory"),
    ],
)
def test_bad_arguments_get_one_line(capsys, arguments, message):
    assert message in bad(capsys, *arguments)


def test_bad_arguments_exit_with_status_2():
    done = run("report", "--size", "42b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("python -m energy_model report: error: unknown size '42b'")


def test_a_plot_that_cannot_be_moved_into_place_leaves_nothing(capsys, tmp_path):
    target = tmp_path / "x.png"
    target.mkdir()
    assert f"cannot write {target}" in bad(capsys, *SIZE, "--plot", str(target))
    assert list(tmp_path.iterdir()) == [target]


def test_a_reader_that_stops_early_is_no_error():
    command = f"{sys.executable} -m energy_model report --size 70b --layers --format json | head -1"
    done = subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("hardware", ["large", "a100", "kv260"])
@pytest.mark.parametrize(("weight", "side"), [("fp16", "llama"), ("ternary", "bitnet")])
def test_a_trace_file_costs_what_its_model_does(capsys, tmp_path, phase, hardware, weight, side):
    path, work = tmp_path / "x.yaml", ("--size", "7b", "--phase", phase, "--context", "300")
    output(capsys, "trace", *work, "--weight", weight, "--out", str(path))
    command = ("ledger", str(path), "--hardware", hardware, "--format")
    ledger = json.loads(output(capsys, *command, "json"))
    arguments = ("report", *work, "--hardware", hardware, "--format", "json")
    expected = json.loads(output(capsys, *arguments))[f"system_{phase}"]["parts"]
    lines = {key: line["nominal_j"] for key, line in ledger["lines"].items()}
    cache = {"kv_cache"}
    # A line that only the other system has is there with zero.
    assert {key for key, part in expected.items() if part[f"{side}_j"]} <= {*lines} <= {*expected}
    for key in lines.keys() - cache:
        assert lines[key] == pytest.approx(expected[key][f"{side}_j"])
    # The report adds keys and values of 7B's 32 blocks of 4096 features, FP16, to the cache.
    tokens = 300 if phase == "prefill" else 1
    added = 2 * tokens * 32 * 4096 * 16 * ledger["hardware"]["dram"]["energy"]["nominal"] * 1e-12
    added /= 64 if ledger["hardware"]["dram"]["energy"]["unit"] == "pJ/64bit" else 1
    assert lines["kv_cache"] + added == pytest.approx(expected["kv_cache"][f"{side}_j"])
    assert ledger["total"]["nominal_j"] == pytest.approx(math.fsum(lines.values()))
    table = list(csv.DictReader(io.StringIO(output(capsys, *command, "csv"))))
    assert {line["line"]: float(line["nominal_j"]) for line in table} == lines
    text = output(capsys, *command, "table")
    assert si(ledger["total"]["nominal_j"], "J") in text
    assert "writing it is in no line" in text


@pytest.mark.parametrize("weight", ["fp16", "ternary"])
def test_a_csv_costs_what_the_same_products_as_yaml_do(capsys, tmp_path, weight):
    (tmp_path / "x.csv").write_text("Layer name, M, N, K,\na*3, 2, 64, 128,\nb, 2, 96, 64,\n")
    act = {"fp16": "fp16", "ternary": "int8"}[weight]
    (tmp_path / "x.yaml").write_text(
        "name: x\nphase: decode\ntokens: 2\nlayers:\n"
        f"  - {{name: a, m: 2, k: 128, n: 64, count: 3, weight: {weight}, act: {act}}}\n"
        f"  - {{name: b, m: 2, k: 64, n: 96, weight: {weight}, act: {act}}}\n"
    )
    found = output(capsys, "ledger", str(tmp_path / "x.csv"), "--weight", weight, "--format", "csv")
    assert found == output(capsys, "ledger", str(tmp_path / "x.yaml"), "--format", "csv")


@pytest.mark.parametrize("command", [[], ["report"], ["compare"], ["counts"]])
def test_help_names_what_it_offers(capsys, command):
    with pytest.raises(SystemExit) as caught:
        PROGRAM.main([*command, "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    expected = {
        (): ["report", "compare", "counts"],
        ("compare",): ["MODEL:FORMAT", "--hardware", "scaling law", "examples:"],
        ("report",): ["--size", "70b", "--layers", "--plot", "--phase", "--costs", "examples:"],
        ("counts",): ["FILE", "unpriced", "standard input"],
    }[tuple(command)]
    assert all(word in text for word in expected)


@pytest.fixture
def array():
    return dict(
        array_counts(OutputStationaryPlan(preset("base"), Gemm(16, 576, 1536)), bits_per_trit=2)
    )


def test_counts_prices_a_file_by_category(capsys, tmp_path, array):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps(array))
    content = json.loads(output(capsys, "counts", str(path), "--format", "json"))
    dram_bits = 576 * 16 * 8 + 576 * 1536 * 2 + 1536 * 16 * 24
    assert content["categories"]["DRAM"]["low_j"] == pytest.approx(dram_bits * 3.97e-12)
    assert content["categories"]["DRAM"]["high_j"] == pytest.approx(dram_bits * 6.0e-12)
    parts = [part["nominal_j"] for part in content["categories"].values()]
    assert content["total"]["nominal_j"] == pytest.approx(sum(parts))
    assert content["unpriced"] == {
        action: count
        for action, count in array.items()
        if action == "select" or action.endswith("_hop_bits")
    }
    assert "registers" not in content["categories"]


def test_counts_reads_standard_input(array):
    done = run("counts", "-", stdin=json.dumps(array))
    assert (done.returncode, done.stderr) == (0, "")
    assert "DRAM" in done.stdout
    registers = next(line for line in done.stdout.splitlines() if line.startswith("registers"))
    assert registers.split()[1:] == [
        "-",
        "-",
        "-",
        "-",
        "act_hop_bits,",
        "psum_hop_bits,",
        "trit_hop_bits",
    ]
    assert "unknown, not zero" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "standard input is not JSON"),
        (b"\xff", "standard input is not JSON: not UTF-8 text"),
        (b"[]", "standard input must be a mapping"),
    ],
)
def test_wrong_standard_input_gets_one_line(content, message):
    command = [sys.executable, "-m", "energy_model", "counts", "-"]
    done = subprocess.run(command, cwd=ROOT, input=content, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().count("\n") == 1
    assert message in done.stderr.decode()


def test_counts_csv_leaves_unpriced_joules_empty(capsys, tmp_path):
    path = tmp_path / "counts.json"
    path.write_text('{"add_int8": 1000, "select": 3}')
    lines = list(
        csv.DictReader(io.StringIO(output(capsys, "counts", str(path), "--format", "csv")))
    )
    assert [line["action"] for line in lines] == ["add_int8", "select"]
    assert float(lines[0]["nominal_j"]) == pytest.approx(7e-12)
    assert (lines[1]["nominal_j"], lines[1]["source"]) == ("", "unpriced")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[1]", "must be a mapping with text keys, not [1]"),
        ("{}", "holds no counts"),
        ('{"add_int8": 1.5}', "add_int8 must be an integer, not 1.5"),
        ('{"add_int8": "8"}', "add_int8 must be an integer, not '8'"),
        ('{"add_int8": true}', "add_int8 must be an integer, not True"),
        ('{"add_int8": NaN}', "is not JSON: NaN is no finite number"),
        ('{"add_int8": -1}', "add_int8 must be at least 0, not -1"),
        ('{"add_int8": 1' + "0" * 400 + "}", "add_int8 must be at most"),
        ('{"add_int8": 1' + "0" * 5000 + "}", "is not JSON"),
        ('{"add_int8": 1, "add_int8": 2}', "add_int8 is there twice"),
    ],
)
def test_bad_counts_get_one_line(capsys, tmp_path, content, message):
    path = tmp_path / "counts.json"
    path.write_text(content)
    assert message in bad(capsys, "counts", str(path))


def test_counts_that_are_not_text_get_one_line(capsys, tmp_path):
    path = tmp_path / "counts.json"
    path.write_bytes(b"\xff\xfe")
    assert "not UTF-8 text" in bad(capsys, "counts", str(path))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 J"),
        (1, "1 J"),
        (999.6, "1 kJ"),
        (16.58, "16.6 J"),
        (0.2321, "232 mJ"),
        (7e-15, "0.007 pJ"),
        (1.299e11, "130 GJ"),
        (5e19, "5e+04 PJ"),
    ],
)
def test_si_prints_three_digits_with_a_prefix(value, shown):
    assert si(value, "J") == shown
