"""sim.figures.film: the page of a run, and that what it shows moves as the array does."""

from pathlib import Path

import html5lib
import numpy as np
import pytest

from tritloom.arch.config import Dataflow
from tritloom.arch.streams import join_psums
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.figures import film

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "film.html"


@pytest.fixture(scope="module")
def films(folder):
    return {dataflow: film.record(dataflow, folder=folder) for dataflow in Dataflow}


def test_committed_page_is_what_the_run_gives(films):
    assert PAGE.read_text() == film.page(list(films.values())), "run: python -m sim film"


def test_page_is_valid_and_fetches_nothing():
    text = PAGE.read_text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert "://" not in text
    assert "default-src 'none'" in text


def beats(frames, side):
    """(cycle, beat) of every beat of a stream that was taken."""
    return [
        (cycle, frame[f"{side}_in"]["beat"])
        for cycle, frame in enumerate(frames)
        if frame[f"{side}_in"]["taken"]
    ]


@pytest.mark.parametrize("dataflow", Dataflow)
def test_acts_are_a_register_further_south_and_east_each_cycle(films, dataflow):
    shown, rows, cols = films[dataflow]["frames"], film.CONFIG.rows, film.CONFIG.cols
    seen = 0
    for cycle, beat in beats(shown, "acts"):
        for row, col in np.ndindex(rows, cols):
            if (arrival := cycle + 1 + row + col) < len(shown):
                assert shown[arrival]["acts"][row][col] == beat[rows - 1 - row]
                seen += 1
    assert seen > 50


def test_trits_go_south_beside_the_acts_that_they_meet(films):
    shown = films[Dataflow.OUTPUT_STATIONARY]["frames"]
    for cycle, beat in beats(shown, "trits"):
        for row, col in np.ndindex(film.CONFIG.rows, film.CONFIG.cols):
            if (arrival := cycle + 1 + row + col) < len(shown):
                assert shown[arrival]["trits"][row][col] == beat[col]


def test_trits_at_work_are_those_of_the_tile_when_its_first_acts_come(films):
    shown, config = films[Dataflow.WEIGHT_STATIONARY], film.CONFIG
    first = np.array(shown["trits"])[: config.cols, : config.rows * config.lanes]
    # The first slice is in the southernmost row.
    tile = first.reshape(config.cols, config.rows, config.lanes).swapaxes(0, 1)[::-1]
    cycle, _ = beats(shown["frames"], "acts")[0]
    for row, col in np.ndindex(config.rows, config.cols):
        frame = shown["frames"][cycle + 1 + row + col]
        assert frame["active"][row][col] == tile[row, col].tolist()


@pytest.mark.parametrize("dataflow", Dataflow)
def test_psums_that_leave_are_the_product(films, dataflow):
    shown = films[dataflow]
    plan = make_plan(film.CONFIG.replace(dataflow=dataflow), Gemm(*film.GEMM))
    psums = [frame["psums_out"] for frame in shown["frames"] if frame["psums_out"]]
    wanted = np.array(shown["acts"]) @ np.array(shown["trits"]).T
    assert (join_psums(plan, np.array(psums)) == wanted).all()
    assert shown["product"] == wanted.tolist()
