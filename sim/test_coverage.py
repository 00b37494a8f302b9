"""Coverage of a design whose points are counted by hand, and a list that is checked."""

from collections import Counter

import pytest

from arch.errors import MismatchError
from sim.coverage import Point, check, read
from sim.coverage_excluded import Excluded
from sim.runner import COVERAGE, TOP, compile_rtl, run_bench

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
    assert run_bench(target, bench="sim.coverage_probe", run=run, tests=1, **options) == ""
    return read(target / "seed-1" / "coverage.dat", DESIGN)


def test_points_of_a_file_are_those_of_its_lines_over_all_instances(tmp_path):
    def line(number, kind, what, instance, count):
        # As Verilator 5.040 writes them.
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
