"""sim.figures.measured: what it makes of figures; the figures themselves are `make bench`'s."""

import json
import sys

import pytest

from tritloom.arch.config import preset
from tritloom.sim import energy
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.figures import measured


@pytest.fixture
def run_one(monkeypatch, tmp_path):
    """Runs the benchmark with one measurement instead of all; returns status and report."""
    monkeypatch.setattr(measured, "REPORT", tmp_path / "build" / "bench.json")
    nothing = dict.fromkeys(("_utilisation", "_lockstep", "_sweep_rates"), lambda *a, **k: ())
    for name, measure in nothing.items():
        monkeypatch.setattr(measured, name, measure)
    monkeypatch.setattr(measured, "_report_time", lambda: measured._figure("plain", 5.0, "op"))
    monkeypatch.setattr(
        measured, "_demo", lambda config: measured._figure("fast", 2.0, "s", below=2.5)
    )

    def run(figure):
        monkeypatch.setattr(measured, "_generation", lambda: iter([figure]))
        status = PROGRAM.main(["bench"])
        return status, json.loads(measured.REPORT.read_text())

    return run


@pytest.mark.parametrize(
    ("bound", "text", "met"),
    [
        ({"below": 10}, "< 10 s", True),
        ({"below": 3}, "< 3 s", False),
        ({"above": 3}, ">= 3 s", True),
        ({"above": 3.5}, ">= 3.5 s", False),
    ],
)
def test_a_missed_target_is_named_and_fails(bound, text, met, run_one, capsys):
    status, report = run_one(measured._figure("the slow one", 3.0, "s", **bound))
    assert status == (0 if met else 1)
    assert [figure["figure"] for figure in report["figures"]] == ["the slow one", "fast", "plain"]
    assert [figure.get("met") for figure in report["figures"]] == [met, True, None]
    line, *_ = (line for line in capsys.readouterr().out.splitlines() if "slow one" in line)
    assert line.split()[3:] == ["3", "s", *text.split(), "met" if met else "MISSED"]


def test_utilisation_comes_from_the_layer_s_own_counters(monkeypatch):
    ran = []

    class Run:
        busy, utilisation, bits_per_trit = 0.5, 0.25, 1.6

        def __init__(self, trits, config, tokens):
            ran.append((trits.shape, {*trits.flat}, tokens))
            gemm = type("Gemm", (), {"m": 7})
            self.job = type("Job", (), {"plan": type("Plan", (), {"gemm": gemm})})
            self.rtl = type("Rtl", (), {"cycles": 100, "seconds": 2e-6})

    monkeypatch.setattr(measured, "run_layer", Run)
    busy, used, bits, speed = measured._utilisation(preset("tiny"), 6, 40, m=7)
    assert ran == [((40, 6), {-1.0, 0.0, 1.0}, 7)]
    assert (busy["measured"], busy["met"]) == (50, False)
    assert (used["measured"], bits["met"]) == (25, True)
    # 16 operations a cycle, 100 of them in 2 us.
    assert speed["measured"] == pytest.approx(16 * 100 / 2)


def test_report_is_run_as_a_user_would(monkeypatch):
    ran = []
    monkeypatch.setattr(energy.subprocess, "run", lambda command, **_: ran.append(command))
    assert measured._report_time()["unit"] == "s"
    assert ran == [[sys.executable, "-m", "tritloom.energy_model", "report", "--size", "70b"]]
