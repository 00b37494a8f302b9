"""`python -m energy_model`: output in every format, and one line for bad input."""

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arch.config import preset
from arch.counts import array_counts
from arch.models import MODELS
from arch.tiling import Plan
from arch.workload import Gemm
from energy_model.cli import main
from energy_model.tiers import Tier
from energy_model.units import si

ROOT = Path(__file__).parents[1]


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
    assert main(list(arguments)) == 0
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
    done = run("report", "--size", "70b")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line[:22].strip(): line.split() for line in done.stdout.splitlines()}
    assert lines["Weight products, 7 nm"][-4:] == ["71.4x", "71.4x", "DERIVED", "[1]"]
    assert lines["End-to-end energy, 512"][-4:-2] == ["41.2x", "41.2x"]
    assert lines["Memory"][-4:-2] == ["6.79x", "7.16x"]
    assert lines["Decode latency, batch"][-3] == "4.10x"
    assert "[1] INFERRED dimensions" in done.stdout
    assert not any(line != line.rstrip() for line in done.stdout.splitlines())


def test_report_takes_less_than_two_seconds_cold():
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        assert run("report", "--size", "70b").returncode == 0
        durations.append(time.perf_counter() - start)
    assert min(durations) < 2


def test_report_imports_matplotlib_for_a_plot_only():
    code = (
        "import sys; from energy_model.cli import main; "
        "main(['report', '--size', '70b', '--layers']); sys.exit('matplotlib' in sys.modules)"
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
    table = output(capsys, "report", "--size", "7b", "--costs", str(path))
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
    assert main(["report", "--size", "70b", "--plot", str(tmp_path / "x.png")]) == 0
    energy, by_layer, memory, latency = pictures[0].axes
    assert [t.get_text() for t in energy.texts[:3]] == ["71.4x", "1.00x", "41.2x"]
    assert len(by_layer.patches) == 2 * 10
    assert len(memory.patches) == 2 * 6
    assert len(latency.patches) == 2 * 11
    widths = [patch.get_width() for patch in by_layer.patches]
    assert sum(widths[:9]) == pytest.approx(widths[9])


def bad(capsys, *arguments):
    """Message of a run that must fail: one line on standard error, nothing on standard output."""
    try:
        status = main(list(arguments))
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
        (("counts", "nope.json"), "cannot read nope.json: No such file or directory"),
    ],
)
def test_bad_arguments_get_one_line(capsys, arguments, message):
    assert message in bad(capsys, *arguments)


def test_bad_arguments_exit_with_status_2():
    done = run("report", "--size", "42b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("python -m energy_model: error: unknown size '42b'")


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


@pytest.mark.parametrize("command", [[], ["report"], ["counts"]])
def test_help_names_what_it_offers(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    expected = {
        (): ["report", "counts"],
        ("report",): ["--size", "70b", "--layers", "--plot", "--phase", "--costs", "examples:"],
        ("counts",): ["FILE", "unpriced", "standard input"],
    }[tuple(command)]
    assert all(word in text for word in expected)


@pytest.fixture
def array():
    return dict(array_counts(Plan(preset("base"), Gemm(16, 576, 1536)), bits_per_trit=2))


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
        ('{"add_int8": NaN}', "add_int8 must be an integer, not nan"),
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
