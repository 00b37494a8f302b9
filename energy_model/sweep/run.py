"""Runner of a sweep on the cores of this machine or on a Dask cluster, which keeps its results.

Points are evaluated in chunks. A chunk is written to a part of its own, under a temporary name that
is then changed: a sweep that is killed has lost the chunks under way and nothing else, and the same
command goes on with the others. The parts become one file in the end.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import gc
import importlib.metadata
import io
import json
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tritloom.arch.errors import InputError
from tritloom.arch.files import read_json, write_text
from tritloom.console import progress
from tritloom.energy_model.machine import area

from .point import Evaluator
from .sweep import COLUMNS, FIGURES, Sweep

SUFFIXES = (".csv", ".parquet")
# Points of a chunk: a fraction of a second, so that little is lost and little is spent on sending.
CHUNK = 512
# A Dask scheduler must answer within so many seconds.
TIMEOUT_S = 10.0


def run_sweep(
    sweep: Sweep, out: Path, *, backend: str = "loky", jobs: int | None = None, scheduler: str = ""
) -> list[dict]:
    """Evaluate the points that `out` does not have yet, and return all results.

    Parameters
    ----------
    out : Path
        Results, .csv or .parquet. Beside them come the resolved sweep (`out`.json), and until the
        end a folder of parts (`out`.parts).
    backend : "loky", "dask" or "sequential"
    jobs : int, optional
        Number of processes with loky; all cores by default.
    scheduler : str
        Address of a Dask cluster's scheduler.

    Raises
    ------
    InputError
        `out` or its parts are those of another sweep, cannot be written, or need a package that
        is not installed; or the scheduler does not answer.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write {out}: its name must end in {' or '.join(SUFFIXES)}")
    if out.suffix.lower() == ".parquet":
        _pyarrow()
    version = importlib.metadata.version("tritloom")
    points, key = sweep.points(), sweep.key(version)
    parts, beside = out.with_name(f"{out.name}.parts"), out.with_name(f"{out.name}.json")
    if out.exists():
        _refuse_other(out, beside, key)
        return read_results(out)
    try:
        parts.mkdir(parents=True, exist_ok=True)
        described = parts / "sweep.json"
        if described.exists():
            _refuse_other(parts, described, key)
        else:
            write_text(described, _description(sweep, key, version, len(points)))
        numbers = range(-(-len(points) // CHUNK))
        names = [parts / f"{number:08d}.csv" for number in numbers]
        missing = [number for number in numbers if not names[number].exists()]
        todo = [points[number * CHUNK : (number + 1) * CHUNK] for number in missing]
        kept = len(points) - sum(map(len, todo))
        with progress.bar("sweep", len(points), "points", done=kept) as advance:
            for chunk in _evaluated(sweep, todo, backend, jobs, scheduler):
                write_text(names[missing[chunk.number]], chunk.lines)
                advance(len(todo[chunk.number]))
        # The whole is made among the parts: a run that is killed here leaves nothing elsewhere.
        whole = parts / f"whole{out.suffix.lower()}"
        _join(names, whole)
        whole.replace(out)
        described.replace(beside)
        shutil.rmtree(parts)
    except OSError as error:
        raise InputError(f"cannot write {error.filename or out}: {error.strerror}") from None
    return read_results(out)


def _refuse_other(what: Path, described: Path, key: str) -> None:
    """Raise unless the description of a sweep has that key."""
    try:
        content = read_json(described)
    except InputError:
        content = None
    found = content.get("key") if isinstance(content, dict) else None
    if found != key:
        raise InputError(
            f"{what} is of another sweep or version: remove it, or choose another --out"
        )


def _description(sweep: Sweep, key: str, version: str, points: int) -> str:
    """Describe what was swept, with what, and how far each figure can be trusted."""
    table = area.area_table()
    content = {
        "key": key,
        "tritloom": version,
        "python": platform.python_version(),
        "points": points,
        "columns": {name: kind.__name__ for name, kind in COLUMNS.items()},
        "units": FIGURES,
        "tiers": {
            "energy": "energy_tier, the weakest of the costs in it",
            "latency": "DERIVED: cycles of arch.timing or operations at peak rate, and DRAM bytes "
            "at bandwidth, the longer one of each layer",
            "area": f"{area.TIER}: {area.SCOPE}",
        },
        "area_sources": list(table.sources),
        "sweep": sweep.resolved(),
    }
    return json.dumps(content, indent=2) + "\n"


class _Chunk(NamedTuple):
    """Place of a chunk, its CSV lines, and the processor's seconds that they took."""

    number: int
    lines: str
    cpu_s: float


def _evaluated(
    sweep: Sweep, chunks: list, backend: str, jobs: int | None, scheduler: str
) -> Iterator[_Chunk]:
    """Evaluate the chunks, and yield them in the order in which they are done."""
    import joblib

    if not chunks:
        return
    with _backend(backend, scheduler):
        # A chunk is a task, so joblib must not batch several into one.
        pool = joblib.Parallel(
            n_jobs=jobs or -1,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="2*n_jobs",
        )
        task = joblib.delayed(_evaluate_chunk)
        yield from pool(
            task(sweep, number, chunk, os.getpid()) for number, chunk in enumerate(chunks)
        )


@contextlib.contextmanager
def _backend(backend: str, scheduler: str) -> Iterator[None]:
    import joblib

    if backend != "dask":
        with joblib.parallel_config(backend=backend):
            yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--backend dask needs the package distributed: install tritloom[dask]"
        ) from None
    try:
        client = Client(scheduler, timeout=TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {scheduler!r}: {error}") from None
    with client, joblib.parallel_config(backend="dask"):
        yield


@functools.cache
def _end_with(parent: int) -> None:
    """End this process when its parent has ended: loky's workers outlive one that was killed.

    A process that is no child of `parent` goes on, so that this serves every backend.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()


def _evaluate_chunk(sweep: Sweep, number: int, points: Sequence[int], parent: int) -> _Chunk:
    _end_with(parent)
    began = time.process_time()
    text, evaluator = io.StringIO(), Evaluator(sweep)
    # Caches fill with tuples, none of them in a cycle. The search for cycles would take a quarter
    # of the time and find none.
    collecting = gc.isenabled()
    gc.disable()
    try:
        csv.writer(text, lineterminator="\n").writerows(map(evaluator.row, points))
    finally:
        if collecting:
            gc.enable()
    return _Chunk(number, text.getvalue(), time.process_time() - began)


def _join(parts: Sequence[Path], path: Path) -> None:
    """Write all parts as one file, as CSV or as Parquet after its suffix."""
    if path.suffix == ".parquet":
        _write_parquet(parts, path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(COLUMNS)
        for part in parts:
            file.write(part.read_text(encoding="utf-8"))


def _write_parquet(parts: Sequence[Path], path: Path) -> None:
    arrow, parquet = _pyarrow()
    types = {int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            with part.open(encoding="utf-8", newline="") as file:
                rows = list(_typed(csv.DictReader(file, fieldnames=list(COLUMNS))))
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def read_results(path: Path) -> list[dict]:
    """Read the results of a sweep, in the order of its points; None where there is no value."""
    if path.suffix.lower() == ".parquet":
        return _pyarrow()[1].read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return list(_typed(csv.DictReader(file)))


def _typed(lines: csv.DictReader) -> Iterator[dict]:
    for line in lines:
        yield {name: kind(line[name]) if line[name] else None for name, kind in COLUMNS.items()}


def _pyarrow():
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError("Parquet needs the package pyarrow: install tritloom[sweep]") from None
    return pyarrow, parquet


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Speed at which a sweep was evaluated.

    Attributes
    ----------
    start : "cold" or "warm"
        Without worker processes and with empty caches, or with both at hand.
    jobs, evaluations : int
        Feasible points only: others take no time.
    seconds, cpu_s : float
        By the clock, and of the processors: fewer where other programs run too.
    """

    start: str
    jobs: int
    evaluations: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Evaluations a second."""
        return self.evaluations / self.seconds

    @property
    def per_cpu_s(self) -> float:
        """Evaluations in a second of one processor."""
        return self.evaluations / self.cpu_s


def benchmark(sweep: Sweep, *, jobs: int | None = None) -> list[Speed]:
    """Evaluate a sweep twice with loky and keep no result."""
    import joblib

    points, speeds = sweep.points(), []
    jobs = jobs or joblib.cpu_count()
    chunks = [points[first : first + CHUNK] for first in range(0, len(points), CHUNK)]
    for start in ("cold", "warm"):
        began = time.perf_counter()
        done = list(_evaluated(sweep, chunks, "loky", jobs, ""))
        seconds = time.perf_counter() - began
        text = io.StringIO("".join(chunk.lines for chunk in done))
        lines = csv.DictReader(text, fieldnames=list(COLUMNS))
        speeds.append(
            Speed(
                start=start,
                jobs=jobs,
                evaluations=sum(not line["infeasible"] for line in lines),
                seconds=seconds,
                cpu_s=sum(chunk.cpu_s for chunk in done),
            )
        )
    return speeds
