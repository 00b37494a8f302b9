"""Coverage of a design whose points are counted by hand, and a list that is checked."""

import json
from collections import Counter

import pytest

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.errors import MismatchError
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.bench import crosses
from tritloom.sim.bench.runner import COVERAGE, TOP, compile_rtl, run_bench
from tritloom.sim.coverage import measure
from tritloom.sim.coverage.excluded import EXCLUDED_BINS, Excluded
from tritloom.sim.coverage.measure import Point, all_bins, bin_figures, check, missed, read

# `flag` is held at 0 by the bench below, so `stuck` never toggles and one branch is never taken.
DESIGN = """
module spare(input a);
endmodule

module tritloom_dut(input clk, input flag, output reg up = 1'h0, output reg stuck = 1'h0);
  always @(posedge clk) up <= ~up;
  always @(posedge clk)
    if (flag) stuck <= ~stuck;
endmodule
"""


@pytest.fixture(scope="module")
def hits(folder):
    options = {"top": TOP, "simulator": "verilator"}
    # Verilator's runtime is compiled with counters too, and neighbours share it.
    folder = folder / "coverage"
    target = compile_rtl(DESIGN, label="small", folder=folder, options=COVERAGE, **options)
    run = {"config": {}, "seed": 1}
    assert run_bench(target, bench="tritloom.sim.coverage.probe", run=run, tests=1, **options) == ""
    return read(target / "seed-1" / "coverage.dat", DESIGN)


def test_points_of_a_file_are_those_of_its_lines_over_all_instances(tmp_path):
    def line(number, kind, what, instance, count):
        # Verilator 5.040 writes points in this form.
        fields = {"f": "dut.v", "l": number, "n": 5, "t": kind, "page": f"v_{kind}/tritloom_dut"}
        fields |= {"o": what, "h": instance}
        return "C '" + "".join(f"\1{key}\2{value}" for key, value in fields.items()) + f"' {count}"

    lines = [
        "# SystemC::Coverage-3",
        line(4, "toggle", "up:0->1", "tritloom_dut.a", 2),
        line(4, "toggle", "up:0->1", "tritloom_dut.b", 3),
        line(4, "toggle", "stuck:0->1", "tritloom_dut.a", 0),
        line(8, "branch", "if", "tritloom_dut.a", 7),
    ]
    file = tmp_path / "coverage.dat"
    file.write_text("\n".join(lines))
    # The module starts on line 5 of the file, and its name is counted from there.
    assert read(file, DESIGN) == {
        Point("toggle", "tritloom_dut", "up:0->1"): 5,
        Point("toggle", "tritloom_dut", "stuck:0->1"): 0,
        Point("branch", "tritloom_dut", "3:5 if"): 7,
    }


# Compiling Verilator's runtime with counters takes a minute: for `make coverage`.
@pytest.mark.slow
@pytest.mark.exhaustive
def test_points_of_a_small_design_are_those_counted_by_hand(hits):
    toggles = {point.what: count for point, count in hits.items() if point.kind == "toggle"}
    # Ten edges of the clock: up is 1 after the first, 0 after the last.
    assert toggles["up:0->1"] == toggles["up:1->0"] == 5
    for net in ("flag", "stuck"):
        assert toggles[f"{net}:0->1"] == toggles[f"{net}:1->0"] == 0
    assert set(toggles) == {
        f"{net}:{way}" for net in ("clk", "flag", "up", "stuck") for way in ("0->1", "1->0")
    }
    branches = {point.what: count for point, count in hits.items() if point.kind == "branch"}
    assert sorted(branches.values()) == [0, 10]
    # The third line of the module.
    assert {what.partition(":")[0] for what in branches} == {"3"}


POINTS = Counter({Point("toggle", "m", "a[0]:0->1"): 3, Point("toggle", "m", "a[1]:0->1"): 0})


def test_what_is_excluded_is_not_counted():
    found = check(POINTS, [Excluded("m", r"a\[1\]:.*", "constant")])
    assert found == {("toggle", "m"): (1, 1, 1)}


@pytest.mark.parametrize(
    ("what", "complaint"), [(r"a.*", r"a\[0\]:0->1: it was hit"), ("b", "no such point")]
)
def test_an_entry_that_is_hit_or_about_nothing_is_refused(what, complaint):
    with pytest.raises(MismatchError, match=complaint):
        check(POINTS, [Excluded("m", what, "constant")])


def test_cycles_written_by_hand_hit_the_bins_of_their_moments():
    config = ArrayConfig(rows=2, cols=2, lanes=4)
    # Two tiles of one token; the second has one feature of two. 5 of 8 input features: two slices.
    plan, hits = make_plan(config, Gemm(1, 5, 3)), Counter()
    one, two = ((plan, PACKINGS["trit5"], tile) for tile in plan)
    sampler = crosses.Sampler(config, hits)
    busy = {"busy": True, "waiting": 4, "packing": "trit2", "errors": frozenset()}
    error = frozenset({"QUEUE_OVERFLOW"})
    # First the core is not busy; then it wants acts; then psums wait, and a tile goes on to its
    # end. An error of the cycle before stays and counts once.
    sampler.cycle(valid=[0, 0, 0], ready=[1, 1, 0], **busy | {"busy": False})
    sampler.cycle(valid=[0, 1, 0], ready=[1, 1, 1], under_way=one, **busy)
    sampler.cycle(valid=[0, 1, 1], ready=[0, 0, 0], under_way=two, **busy | {"errors": error})
    sampler.cycle(valid=[1, 1, 1], ready=[0, 1, 0], **busy | {"errors": error, "waiting": 1})
    shape = "tokens=short k=short features={} slices=several product=several"
    assert hits == {
        ("tiles", f"packing=trit5 stalls=acts {shape.format('whole')}"): 1,
        ("tiles", f"packing=trit5 stalls=psums {shape.format('short')}"): 2,
        ("parts of k", "packing=trit5 stalls=acts part=all"): 1,
        ("parts of k", "packing=trit5 stalls=psums part=all"): 2,
        ("errors", "error=QUEUE_OVERFLOW stalls=acts waiting=full"): 1,
        ("errors by packing", "error=QUEUE_OVERFLOW packing=trit2"): 1,
    }
    assert {name for _, name in hits} <= {name for c in crosses.CROSSES for name in crosses.bins(c)}


def all_but_excluded(dataflow):
    entries = [entry for entry in EXCLUDED_BINS if dataflow in entry.dataflows]
    hits = all_bins(Counter())
    hits.update(missed(hits, entries))
    return hits


@pytest.mark.parametrize("dataflow", Dataflow)
def test_an_excluded_bin_that_is_hit_is_refused(dataflow):
    hits = all_but_excluded(dataflow)
    hits[next(point for point, count in hits.items() if not count)] = 1
    with pytest.raises(MismatchError, match="it was hit"):
        bin_figures(dataflow, hits, hits)


@pytest.mark.parametrize("open_bins", [0, 1])
def test_a_bin_that_is_open_is_named_and_sets_the_status(open_bins, monkeypatch, capsys, tmp_path):
    lost = [Point("bin", "errors", "error=ILLEGAL_CODE stalls=psums waiting=full")][:open_bins]

    def measured(dataflow, folder):
        points = Counter(Point(kind, "m", "1") for kind in ("line", "branch", "toggle"))
        bins = all_but_excluded(dataflow)
        return points, bins, bins | dict.fromkeys(lost, 0)

    monkeypatch.setattr(measure, "EXCLUDED", [])
    monkeypatch.setattr(measure, "measure", measured)
    assert PROGRAM.main(["coverage", "--out", str(tmp_path)]) == open_bins
    document = json.loads((tmp_path / "crosses.json").read_text())
    printed, error = capsys.readouterr()
    assert error.startswith("python -m sim coverage: failed: ") == bool(open_bins)
    for dataflow in Dataflow:
        numbers = document[str(dataflow)]["errors"]
        assert numbers["missed"] == [point.what for point in lost]
        assert numbers["hit"] == numbers["bins"] - open_bins
        for point in lost:
            assert f"{dataflow} missed: errors: {point.what}" in printed
    assert printed.count("missed") == 2 * open_bins
