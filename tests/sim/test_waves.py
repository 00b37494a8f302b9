"""sim.figures.waves: the drawings of the book, and what is in them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch import timing
from tritloom.arch.config import Dataflow
from tritloom.arch.streams import join_psums
from tritloom.arch.tiling import make_plan
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.figures import waves

FOLDER = Path(__file__).parents[2] / "docs" / "waves"


@pytest.mark.parametrize("dataflow", Dataflow)
def test_committed_wave_is_what_the_run_gives(dataflow):
    assert (FOLDER / f"{dataflow}.json").read_text() == waves.text(dataflow)


@pytest.mark.skipif(not importlib.util.find_spec("wavedrom"), reason="not installed: wavedrom")
@pytest.mark.parametrize("dataflow", Dataflow)
def test_committed_drawing_is_that_of_the_wave(dataflow):
    source = (FOLDER / f"{dataflow}.json").read_text()
    assert (FOLDER / f"{dataflow}.svg").read_text() == waves.svg(source)


def test_without_wavedrom_the_command_is_refused_in_a_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(waves, "find_spec", lambda name: None)
    assert PROGRAM.main(["waves", "--out", str(tmp_path)]) == 2
    missing = "WaveDrom is missing: install the package's `docs` extra"
    assert capsys.readouterr().err == f"python -m sim waves: error: {missing}\n"
    assert not list(tmp_path.iterdir())


def lines(dataflow):
    """Each line's text and data, by its group and name, of the committed file."""
    drawn = json.loads((FOLDER / f"{dataflow}.json").read_text())
    return {
        (group[0], line["name"]): (line["wave"], line.get("data", []))
        for group in drawn["signal"][1:]
        for line in group[1:]
    }


def levels(text):
    """A line's levels, cycle by cycle."""
    shown = []
    for letter in text:
        shown.append(shown[-1] if letter == "." else letter)
    return shown


@pytest.mark.parametrize("dataflow", Dataflow)
def test_drawn_run_takes_the_cycles_of_the_formula(dataflow):
    plan = make_plan(waves.CONFIG.replace(dataflow=dataflow), waves.GEMM)
    assert {len(text) for text, _ in lines(dataflow).values()} == {timing.gemm_cycles(plan)}


@pytest.mark.parametrize("dataflow", Dataflow)
def test_drawn_psums_are_the_product(dataflow):
    plan = make_plan(waves.CONFIG.replace(dataflow=dataflow), waves.GEMM)
    _, data = lines(dataflow)["psums", "psums"]
    acts, trits = waves.operands(waves.GEMM)
    psums = np.array([text.split() for text in data], int)
    assert (join_psums(plan, psums) == acts @ trits.T).all()


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("side", ["acts", "trits"])
def test_drawn_streams_take_every_beat_of_the_plan(dataflow, side):
    plan = make_plan(waves.CONFIG.replace(dataflow=dataflow), waves.GEMM)
    drawn = lines(dataflow)
    taken = [
        valid == ready == "1"
        for valid, ready in zip(
            *(levels(drawn[side, name][0]) for name in ("valid", "ready")), strict=True
        )
    ]
    wanted = plan.beats if side == "acts" else plan.trit_beats
    assert sum(taken) == len(drawn[side, side][1]) == wanted
