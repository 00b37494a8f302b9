"""Mutation testing of the formulas: `make mutate-formulas`.

Small faults are drawn at random from the formulas of `arch`, `sim.golden` and `energy_model`, and
each must make a test fail. A fault runs against the tests that execute its line, which one run of
the suite under `coverage` tells, those of its module first. It is planted in a copy of the project
in a temporary folder; what pytest and the tests import from elsewhere is imported once, and each
fault gets a process forked from there.

mutmut leaves out decorated functions, and so the properties that most formulas here are; what it,
and cosmic-ray, would start for each fault takes longer than the tests.

    python -m tests.tools.formula_mutants [--count 300] [--seed 1]
    python -m tests.tools.formula_mutants --run NUMBER ...    the faults of these numbers, again
"""

import argparse
import contextlib
import functools
import hashlib
import importlib
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest
import yaml

from tests.tools.formula_sites import sites
from tests.tools.rooms import NAME

ROOT = Path(__file__).parents[2]
BUILD = Path("build/formula_mutants")
PACKAGES = ("arch", "sim/golden", "energy_model")
REQUIRED = 0.9
# Modules, tests and faults that are left out, with reasons.
LISTS = yaml.safe_load((ROOT / "tests/data/formula_mutants.yaml").read_text())
# Modules of others, which are imported once for all faults.
PRELOADED = (
    *("numpy.testing", "hypothesis.extra.numpy", "yaml", "rich.table", "rich.console", "joblib"),
    *("jinja2", "matplotlib.figure", "safetensors.numpy", "gguf", "html5lib", "amaranth.hdl"),
    *("ml_dtypes", "torch", "transformers.models.bitnet.modeling_bitnet", "coverage"),
)
OURS = ("arch", "console", "hw", "sim", "energy_model")
# Of the tests that execute a line, those run for a fault there take so long at most, undisturbed;
# what survives is run by more.
LIMITS_S = (15, 90)
# A fault has so long, and three times what its tests take.
LEAST_S = 20
MOST_BYTES = 8 << 30


def modules(package):
    """Files of a package that hold formulas."""
    found = (path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py"))
    return sorted(
        name for name in found if name not in LISTS["left_out"] and "__init__" not in name
    )


@functools.cache
def candidates():
    """Every fault that can be drawn, in a fixed order."""
    return tuple(
        site
        for package in PACKAGES
        for name in modules(package)
        for site in sites(name, (ROOT / name).read_text())
    )


def package_of(mutant):
    """The package of `PACKAGES` that the fault is in."""
    return next(package for package in PACKAGES if mutant.file.startswith(f"{package}/"))


def drawn(count, seed):
    """Numbers of so many faults or a few more: by the packages' sizes, a fifth of each at least."""
    rng, found = random.Random(seed), []
    for package in PACKAGES:
        numbers = [i for i, site in enumerate(candidates()) if package_of(site) == package]
        share = max(count // 5, round(count * len(numbers) / len(candidates())))
        found += rng.sample(numbers, min(share, len(numbers)))
    return sorted(found)


def equivalents():
    """Why a fault changes nothing, by what identifies it."""
    return {(e["file"], e["where"], e["before"], e["after"]): e["why"] for e in LISTS["equivalent"]}


def test_files():
    """The test files that are run, by their paths from tests/."""
    found = (p.relative_to(ROOT / "tests") for p in (ROOT / "tests").rglob("test_*.py"))
    return sorted(path.as_posix() for path in found if path.as_posix() not in LISTS["not_run"])


class _Plugin:
    """Keeps to some tests, in their order; notes what failed, and how long each took."""

    def __init__(self, order=None, coverage=None):
        self.order, self.coverage = order, coverage
        self.seconds, self.failed = {}, []

    def pytest_collection_modifyitems(self, config, items):
        if self.order is None:
            items[:] = [item for item in items if not item.get_closest_marker("slow")]
        else:
            rank = {name: i for i, name in enumerate(self.order)}
            items[:] = sorted(
                (i for i in items if i.nodeid in rank), key=lambda item: rank[item.nodeid]
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        if self.coverage:
            # What one test left in a cache, another one would not execute.
            for name, module in list(sys.modules.items()):
                if name.split(".")[0] in (NAME, "tests"):
                    for value in vars(module).values():
                        getattr(value, "cache_clear", int)()
            self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            if self.coverage:
                self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)


def _forked(folder, work, timeout_s):
    """What `work` returns in a process of its own in that folder, or None where it takes longer."""
    answer = folder / "answer"
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
            log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(folder / "copy")
            os.environ["PYTHONPATH"] = sys.path[0] = os.getcwd()
            for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
                del sys.modules[name]
            result = pickle.dumps(work())
            answer.write_bytes(result)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(0)
    end = time.monotonic() + timeout_s
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.01)
    # Without an answer the fault ended the process itself.
    return pickle.loads(answer.read_bytes()) if answer.exists() else None


def _pytest(arguments, plugin):
    # It would warn of plugins that are imported already.
    options = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    return pytest.main([*options, *arguments], plugins=[plugin])


class Project:
    """A copy of the project in which faults are planted; a context manager.

    Parameters
    ----------
    files : sequence of str, optional
        Paths of the test files to run, from tests/.
    """

    def __init__(self, files=None):
        self.files = files or test_files()
        # For each test file: seconds by test, and tests by source file and line.
        self.measured = {}

    def __enter__(self):
        self._scratch = tempfile.TemporaryDirectory(prefix="formula-mutants-")
        self.folder = Path(self._scratch.name)
        ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT, self.folder / "copy", ignore=ignored)
        # Without the links `tritloom.arch` would be the installed folder rather than the copy.
        for package in OURS:
            (self.folder / "copy" / NAME / package).symlink_to(Path("..", package))
        return self

    def __exit__(self, *_):
        self._scratch.cleanup()

    def measure(self):
        """Run the tests without a fault; `RuntimeError` where one fails."""
        sources = [name for package in PACKAGES for name in modules(package)]
        common = [(ROOT / name).read_bytes() for name in (*sources, "tests/conftest.py")]
        BUILD.mkdir(parents=True, exist_ok=True)
        for name in self.files:
            parts = [*common, (ROOT / "tests" / name).read_bytes()]
            key = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
            kept = BUILD / f"{name.replace('/', '-')}-{key}.pickle"
            if not kept.exists():
                print(f"measuring {name}", file=sys.stderr)
                found = _forked(self.folder, functools.partial(_measure, name, sources), 1200)
                if found is None or found[0]:
                    self._refuse(f"tests/{name}")
                kept.write_bytes(pickle.dumps(found[1]))
            self.measured[name] = pickle.loads(kept.read_bytes())
        _forked(self.folder, functools.partial(_compile, self.files), 600)

    def _refuse(self, what):
        log = (self.folder / "log").read_text(errors="replace")
        raise RuntimeError(f"{what} fails without a fault:\n{log[-2000:]}")

    def tests(self, mutant, most_s):
        """Lists of tests by file for a fault, in their order, and the seconds they took."""
        own, found = f"test_{Path(mutant.file).stem}.py", []
        for name, (seconds_of, lines) in self.measured.items():
            by_line = lines[mutant.file]
            hit = set().union(*(by_line.get(line, ()) for line in mutant.lines))
            # Imports and fixtures: any test of the file may depend on them.
            found += [
                (Path(name).name != own, test not in hit, seconds, test)
                for test, seconds in seconds_of.items()
                if test in hit or "" in hit
            ]
        groups, spent = {}, 0.0
        for *_, seconds, test in sorted(found):
            if spent + seconds <= most_s:
                groups.setdefault(test.partition("::")[0], []).append(test)
                spent += seconds
        kept = sorted(groups.values(), key=lambda tests: (own not in tests[0], -len(tests)))
        return kept, spent

    def killer(self, mutant, limits_s=LIMITS_S):
        """The test that a fault fails, or how it ends otherwise; "" where it survives."""
        path, failed = self.folder / "copy" / mutant.file, ""
        whole, now = path.read_text(), path.stat()
        runs = [self.tests(mutant, most_s) for most_s in limits_s]
        try:
            path.write_text(mutant.source)
            # Compiled files are told apart by seconds and length.
            os.utime(path, (now.st_mtime + 10, now.st_mtime + 10))
            for tests, spent_s in runs[:1] if runs[0] == runs[-1] else runs:
                if failed == "":
                    work = functools.partial(_run, tests)
                    failed = _forked(self.folder, work, LEAST_S + 3 * spent_s)
        finally:
            path.write_text(whole)
            os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))
        return "time or crash" if failed is None else failed


def _measure(name, sources):
    import coverage

    # The settings of pyproject.toml are for the whole suite and the processes that it starts.
    cov = coverage.Coverage(
        data_file=None, config_file=False, include=[f"{os.getcwd()}/{s}" for s in sources]
    )
    plugin = _Plugin(coverage=cov)
    cov.start()
    status = _pytest([f"tests/{name}"], plugin)
    cov.stop()
    data = cov.get_data()
    lines = {
        source: {
            line: set(contexts)
            for line, contexts in data.contexts_by_lineno(f"{os.getcwd()}/{source}").items()
        }
        for source in sources
    }
    failed = status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return failed, (plugin.seconds, lines)


def _compile(files):
    """Leave all bytecode, which a process with a fault must not."""
    sys.dont_write_bytecode = False
    _pytest(["--collect-only", *(f"tests/{name}" for name in files)], _Plugin())


def _run(groups):
    # Bytecode of this fault must not be left to the next one of the file.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    for tests in groups:
        plugin = _Plugin(order=tests)
        files = dict.fromkeys(name.partition("::")[0] for name in tests)
        if status := _pytest(list(files), plugin):
            return (plugin.failed or [f"pytest's status {status:d}"])[0]
    return ""


def run(project, numbers):
    """A record of each fault: what it is, what killed it, why it may survive, and seconds."""
    known, records = equivalents(), []
    for done, number in enumerate(numbers, 1):
        mutant, start = candidates()[number], time.monotonic()
        why = known.get((mutant.file, mutant.where, mutant.before, mutant.after), "")
        killer = project.killer(mutant, LIMITS_S[:1] if why else LIMITS_S)
        records.append(
            {
                "number": number,
                "package": package_of(mutant),
                "fault": str(mutant),
                "killer": killer,
                "equivalent": "" if killer else why,
                "seconds": round(time.monotonic() - start, 2),
            }
        )
        what = killer or (why and f"equivalent: {why}") or "SURVIVES"
        print(f"{done}/{len(numbers)} {number} {mutant}: {what}", file=sys.stderr, flush=True)
    return records


def summary(records):
    """Lines of the table by package, and whether each reaches what is required."""
    columns = "{:13} {:>10} {:>8} {:>7} {:>11} {:>10} {:>8}"
    names = ("package", "candidates", "mutants", "killed", "equivalent", "survivors", "killed %")
    lines, met = [columns.format(*names)], True
    for package in (*PACKAGES, "all"):
        chosen = [r for r in records if package in (r["package"], "all")]
        known = [m for m in candidates() if package in (package_of(m), "all")]
        killed, equivalent = (sum(bool(r[k]) for r in chosen) for k in ("killer", "equivalent"))
        rest = len(chosen) - equivalent
        share = killed / rest if rest else 1
        met &= share >= REQUIRED
        counts = (len(known), len(chosen), killed, equivalent, rest - killed)
        lines.append(columns.format(package, *counts, f"{100 * share:.1f}"))
    return lines, met


def main(arguments=None):
    """Draw faults and run them; 1 where fewer than nine in ten are killed in a package."""
    options = argparse.ArgumentParser(
        prog="python -m tests.tools.formula_mutants",
        description="Faults in formulas, each run by tests.",
    )
    options.add_argument("--count", type=int, default=300, help="faults [300]")
    options.add_argument("--seed", type=int, default=1, help="of the draw [1]")
    options.add_argument("--run", type=int, nargs="+", metavar="NUMBER", help="these alone")
    chosen = options.parse_args(arguments)
    if not 1 <= chosen.count <= len(candidates()):
        options.error(f"--count must be from 1 to {len(candidates())}, not {chosen.count}")
    numbers = chosen.run or drawn(chosen.count, chosen.seed)
    if not all(0 <= number < len(candidates()) for number in numbers):
        options.error(f"--run takes numbers from 0 to {len(candidates()) - 1}")
    start = time.monotonic()
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with Project() as project:
        project.measure()
        records = run(project, numbers)
    (BUILD / "outcomes.json").write_text(json.dumps(records, indent=1))
    for record in records:
        if not record["killer"]:
            why = record["equivalent"] and f": equivalent, {record['equivalent']}"
            print(f"{record['number']} {record['fault']}{why}")
    lines, met = summary(records)
    print(*lines, f"{(time.monotonic() - start) / 60:.0f} minutes", sep="\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
