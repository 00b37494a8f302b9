"""Coverage of the core's RTL under the benches: lines, toggles, and crosses.

`python -m sim coverage` runs the core's bench and the registers' on the preset tiny, compiled with
Verilator's counters, and adds them up over all instances of a module. A point is a line or a
branch, or one direction of one bit of a net that Verilog names; Yosys' `_012_` are not counted.
What cannot be hit, or not in a run of reasonable length, is in `sim/coverage/excluded.py`, with the
reason.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from tritloom.arch.config import PRESETS, Dataflow
from tritloom.arch.errors import MismatchError
from tritloom.arch.files import write_files
from tritloom.console.sheet import Heading, Part, Sheet, Table, show
from tritloom.hw.core import registers
from tritloom.hw.emit import emit
from tritloom.hw.verilog import generate_core
from tritloom.sim.bench import crosses
from tritloom.sim.bench.runner import COVERAGE, TOP, build, run_bench
from tritloom.sim.bench.scenarios import BUS_SCENARIOS, CORE_SCENARIOS, CORE_TESTS

from .excluded import EXCLUDED, EXCLUDED_BINS, Excluded

# Share of the points that must be covered, where they are not excluded. Every bin must be hit.
LEAST = 0.98
# Instead of 32,768, so that a run passes all addresses of the act buffer.
MAX_K = 128
REGISTERS = "tritloom_dut_registers"


@dataclass(frozen=True)
class Point:
    """Something in the RTL that a run can hit.

    Attributes
    ----------
    kind : str
        line, branch or toggle; or bin.
    module, what : str
        What: `net[bit]:0->1` of a toggle, else the line in its module and Verilator's label. Of a
        bin: its cross and itself.
    """

    kind: str
    module: str
    what: str


def read(file: Path, verilog: str) -> Counter:
    """Hits of each `Point` in Verilator's coverage.dat, zeros too, over all instances."""
    lines = verilog.splitlines()
    starts = {
        found[1]: number
        for number, line in enumerate(lines, 1)
        if (found := re.match(r"module (\w+)", line))
    }
    hits = Counter()
    for line in file.read_text().splitlines():
        if not line.startswith("C '"):
            continue
        body, _, count = line[3:].rpartition("' ")
        fields = dict(field.split("\x02", 1) for field in body.split("\x01")[1:])
        kind, _, module = fields["page"].removeprefix("v_").partition("/")
        what = fields["o"]
        if kind != "toggle":
            what = f"{int(fields['l']) - starts[module]}:{fields['n']} {what}"
        hits[Point(kind, module, what)] += int(count)
    return hits


def excluded(point: Point, entry: Excluded) -> bool:
    """Whether an entry of the list is about a point."""
    return point.module == entry.module and bool(re.fullmatch(entry.what, point.what))


def check(hits: Counter, entries: list[Excluded]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(hit, points, excluded points) of each (kind, module).

    Raises
    ------
    MismatchError
        An entry is about no point, or about one that was hit.
    """
    left_out, wrong = set(), []
    for entry in entries:
        about = [point for point in hits if excluded(point, entry)]
        if not about:
            wrong.append(f"excluded {entry.module} {entry.what}: there is no such point")
        wrong += [f"excluded {entry.module} {p.what}: it was hit" for p in about if hits[p]]
        left_out.update(about)
    if wrong:
        raise MismatchError("; ".join(wrong))
    found = defaultdict(lambda: (0, 0, 0))
    for point, count in hits.items():
        hit, points, out = found[point.kind, point.module]
        is_out = point in left_out
        found[point.kind, point.module] = (hit + (count > 0), points + (not is_out), out + is_out)
    return dict(found)


def _registers_verilog(config):
    modules = registers.modules(config, prefix="dut")
    modules[TOP] = modules.pop("dut_registers")
    return emit(modules, top=TOP)[0]


def _run(config, verilog, gemms, module, tests, folder, **more):
    """Run a bench and return the folder of what it leaves."""
    target = build(config, simulator="verilator", folder=folder, verilog=verilog, options=COVERAGE)
    run = {"config": dataclasses.asdict(config), "gemms": gemms, "seed": 1, **more}
    failed = run_bench(target, top=TOP, bench=module, run=run, tests=tests, simulator="verilator")
    if failed:
        raise MismatchError(failed)
    return target / "seed-1"


def _bins(folder):
    return Counter({tuple(key): n for *key, n in json.loads((folder / "crosses.json").read_text())})


def all_bins(hits: Counter) -> Counter:
    """Hits of each bin as a `Point`, zeros too, out of hits by (cross, bin)."""
    return Counter(
        {
            Point("bin", cross, name): hits[cross, name]
            for cross in crosses.CROSSES
            for name in crosses.bins(cross)
        }
    )


def missed(hits: Counter, entries: list[Excluded]) -> list[Point]:
    """Points that are neither hit nor excluded."""
    return [
        point
        for point, count in hits.items()
        if not count and not any(excluded(point, entry) for entry in entries)
    ]


def measure(dataflow: Dataflow, folder: Path | None) -> tuple[Counter, Counter, Counter]:
    """Hits of the core of the preset tiny, but for MAX_K, its registers' own bench included.

    Then those of the bins: of the core's bench, and with `sim.coverage.crosses_bench` after it.
    """
    config = PRESETS["tiny"].replace(dataflow=dataflow, max_k=MAX_K, buffer_tokens=4)
    tile = (config.rows, config.slices_per_tile * config.lanes, config.cols)
    gemms = [(1, 1, 1), tuple(side + 1 for side in tile), (5, MAX_K, 5), (4, MAX_K - 1, 1)]
    verilog = generate_core(config, name="dut").verilog
    tests = len(CORE_SCENARIOS) + CORE_TESTS
    left = _run(
        config, verilog, gemms, "tritloom.sim.bench.core_bench", tests, folder, crosses=True
    )
    hits, first = read(left / "coverage.dat", verilog), _bins(left)
    entries = [entry for entry in EXCLUDED_BINS if dataflow in entry.dataflows]
    wanted = [(point.module, point.what) for point in missed(all_bins(first), entries)]
    more = {"crosses": True, "wanted": wanted}
    both = first + _bins(
        _run(config, verilog, [], "tritloom.sim.coverage.crosses_bench", 2, folder, **more)
    )
    # Nine tests under every scenario of the bus, and one.
    tests, verilog = 9 * len(BUS_SCENARIOS) + 1, _registers_verilog(config)
    left = _run(config, verilog, [], "tritloom.sim.bench.registers_bench", tests, folder)
    for point, count in read(left / "coverage.dat", verilog).items():
        name = REGISTERS if point.module == TOP else f"tritloom_{point.module}"
        here = Point(point.kind, name, point.what)
        if here in hits:
            hits[here] += count
    return hits, all_bins(first), all_bins(both)


def bin_figures(dataflow: Dataflow, first: Counter, hits: Counter) -> dict[str, dict]:
    """Figures of each cross, out of hits of the core's bench alone and of both benches.

    Raises
    ------
    MismatchError
        An excluded bin was hit, or there is no such bin.
    """
    entries = [entry for entry in EXCLUDED_BINS if dataflow in entry.dataflows]
    left, document = missed(hits, entries), {}
    for (_, cross), (hit, bins, out) in check(hits, entries).items():
        before = sum(1 for point in first if point.module == cross and first[point])
        document[cross] = {"core_bench": before, "hit": hit, "bins": bins, "excluded": out}
        document[cross]["missed"] = [point.what for point in left if point.module == cross]
    return document


def bin_parts(dataflow: Dataflow, figures: dict[str, dict]) -> list[Part]:
    """A table of the bins of each cross, and lines of those missed."""
    rows = [
        (cross, *(str(numbers[name]) for name in ("core_bench", "hit", "bins", "excluded")))
        for cross, numbers in figures.items()
    ]
    headers = ("cross", ">core's bench", ">hit", ">bins", ">excluded")
    lost = [
        f"{dataflow} missed: {cross}: {name}"
        for cross, numbers in figures.items()
        for name in numbers["missed"]
    ]
    return [Heading(f"{dataflow}, crosses"), Table(headers=headers, rows=rows), *lost, ""]


def point_figures(hits: Counter, entries: list[Excluded]) -> dict:
    """Figures of lines, branches and toggles over all modules, and the points that are missed."""
    sums: Counter = Counter()
    for (kind, _), numbers in check(hits, entries).items():
        for name, number in zip(("hit", "points", "excluded"), numbers, strict=True):
            sums[kind, name] += number
    lost = [f"{point.kind} {point.module} {point.what}" for point in missed(hits, entries)]
    return {
        "missed": lost,
        **{
            kind: {name: sums[kind, name] for name in ("hit", "points", "excluded")}
            for kind in ("line", "branch", "toggle")
        },
    }


def point_parts(
    dataflow: Dataflow, hits: Counter, entries: list[Excluded], figures: dict
) -> list[Part]:
    """A table of lines, branches and toggles by module, and their shares over all modules."""
    rows = [
        (module, kind, *map(str, numbers))
        for (kind, module), numbers in sorted(check(hits, entries).items())
    ]
    headers = ("module", "kind", ">hit", ">points", ">excluded")
    shares = [
        f"{dataflow} {kind}: {_share(figures[kind]):.2%} of {figures[kind]['points']}, "
        f"{figures[kind]['excluded']} excluded"
        for kind in ("line", "branch", "toggle")
    ]
    return [Heading(str(dataflow)), Table(headers=headers, rows=rows), "", *shares, ""]


def _share(numbers: dict) -> float:
    return numbers["hit"] / numbers["points"]


def show_coverage(out: Path) -> None:
    """Measure either dataflow, print tables, write rtl.json and crosses.json.

    Raises
    ------
    MismatchError
        Less is hit than the bounds say, a bench fails, or an entry of the lists is wrong.
    """
    points, bins, low = {}, {}, []
    for dataflow in Dataflow:
        entries = [entry for entry in EXCLUDED if dataflow in entry.dataflows]
        hits, first, both = measure(dataflow, out / "sim")
        bins[str(dataflow)] = crosses_found = bin_figures(dataflow, first, both)
        points[str(dataflow)] = found = point_figures(hits, entries)
        parts = bin_parts(dataflow, crosses_found)
        show(Sheet(parts=[*parts, *point_parts(dataflow, hits, entries, found)]))
        low += [f"{dataflow} {cross}" for cross, of in crosses_found.items() if of["missed"]]
        low += [
            f"{dataflow} {kind}"
            for kind in ("line", "branch", "toggle")
            if _share(found[kind]) < LEAST
        ]
    write_files(
        out,
        {
            "crosses.json": json.dumps(bins, indent=1),
            "rtl.json": json.dumps(points, indent=1),
        },
    )
    if low:
        raise MismatchError(f"below the bounds: {', '.join(low)}")
