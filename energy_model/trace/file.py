"""Traces as files: YAML, which holds all of a trace, and the GEMM topology CSV of SCALE-Sim.

docs/models.md has both formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tritloom.arch.errors import InputError, require_int
from tritloom.arch.files import read_text
from tritloom.arch.models.trace import operand_dtypes
from tritloom.arch.workload import Gemm, Layer, Trace, Vector
from tritloom.energy_model.costs import datafile

_LARGEST = 1 << 60
_HEADER = "Layer name, M, N, K,"
_COUNTED = re.compile(r"(.+)\*([0-9]+)")


def read_trace(path: Path) -> Trace:
    """Read the trace that a YAML file holds.

    Raises
    ------
    InputError
        Names the file, the line and the key of what is missing, wrong or unknown.
    """
    path = Path(path)
    content = datafile.read_yaml(path).only(
        "name", "phase", "tokens", "layers", optional=("vectors",)
    )
    name, phase, tokens = content.text("name"), content.text("phase"), _integer(content, "tokens")
    layers = tuple(map(_read_layer, _records(content, "layers")))
    vectors = tuple(map(_read_vector, _records(content, "vectors")))
    try:
        return Trace(name=name, phase=phase, tokens=tokens, layers=layers, vectors=vectors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def trace_yaml(trace: Trace) -> str:
    """Write a trace as YAML from which `read_trace` reads an equal one."""
    import yaml

    def flow(entry: dict) -> str:
        width = float("inf")
        text = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=width)
        return f"  - {text}"

    head = {"name": trace.name, "phase": trace.phase, "tokens": trace.tokens}
    return "".join(
        [
            "# Matrix products and vector work of one pass: docs/models.md.\n",
            yaml.safe_dump(head, sort_keys=False),
            "layers:\n",
            *(flow(_layer_entry(layer)) for layer in trace),
            "vectors:\n" if trace.vectors else "",
            *(flow(_vector_entry(vector)) for vector in trace.vectors),
        ]
    )


def _layer_entry(layer: Layer) -> dict:
    gemm = layer.gemm
    entry = {
        "name": layer.name,
        "m": gemm.m,
        "k": gemm.k,
        "n": gemm.n,
        "count": layer.count,
        "weight": layer.weight,
        "act": layer.act,
    }
    if not layer.trained:
        entry["stationary"] = False
    if layer.stored != layer.count:
        entry["stored"] = layer.stored
    return entry


def _vector_entry(vector: Vector) -> dict:
    entry = dict(vars(vector))
    if not vector.stored:
        del entry["stored"]
    return entry


def _read_layer(record: datafile.Record) -> Layer:
    record.only("name", "m", "k", "n", "weight", "act", optional=("count", "stationary", "stored"))
    stationary = record.get("stationary", True)
    if not isinstance(stationary, bool):
        where = record.at("stationary")
        raise InputError(f"{where} must be true or false, not {stationary!r:.60}")
    fields = {
        "name": record.text("name"),
        "gemm": Gemm(*(_integer(record, side) for side in ("m", "k", "n"))),
        "count": _integer(record, "count", default=1),
        "weight": record.text("weight"),
        "act": record.text("act"),
        "trained": stationary,
    }
    if "stored" in record:
        fields["stored"] = _integer(record, "stored")
    return _entry(record, Layer, fields)


def _read_vector(record: datafile.Record) -> Vector:
    record.only("name", "kind", "rows", "width", optional=("count", "stored"))
    fields = {
        "name": record.text("name"),
        "kind": record.text("kind"),
        "rows": _integer(record, "rows"),
        "width": _integer(record, "width"),
        "count": _integer(record, "count", default=1),
        "stored": _integer(record, "stored", low=0, default=0),
    }
    return _entry(record, Vector, fields)


def _entry(record: datafile.Record, kind: type, fields: dict):
    try:
        return kind(**fields)
    except InputError as error:
        raise InputError(f"{record.place(record.lines['name'])}: {error}") from None


def _records(content: datafile.Record, key: str) -> Iterator[datafile.Record]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise InputError(f"{content.at(key)} must be a list, not {entries!r:.60}")
    for i, entry in enumerate(entries):
        if not isinstance(entry, datafile.Record):
            where = f"{content.at(key)}[{i}]"
            raise InputError(f"{where} must be a mapping with text keys, not {entry!r:.60}")
        yield entry


def _integer(record: datafile.Record, key: str, *, low: int = 1, default: int = 0) -> int:
    return require_int(record.at(key), record.get(key, default), low=low, high=_LARGEST)


def read_scalesim(
    path: Path,
    *,
    weight: str,
    phase: str = "decode",
    head_weight: str = "fp16",
    kv: str = "fp16",
) -> Trace:
    """Read the trace of a GEMM topology CSV.

    The first line is a header; each further one has a name, M (rows of X), N (columns) and K. A
    name that ends in `*32` stands for 32 occurrences. The CSV says nothing of number formats; they
    are those that `build_trace` gives to layers of these names, where `attn.qk`, `attn.av`,
    `lm_head` and routers are special. Every occurrence is taken to have operands of its own. The
    tokens of the pass are the largest M.

    Raises
    ------
    InputError
        Names the file and the line of what is wrong.
    """
    path = Path(path)
    layers: list[Layer] = []
    # The line of each layer; of the header, None.
    lines: dict[str | None, int] = {}
    rows = enumerate(read_text(path).splitlines(), 1)
    for number, cells in ((number, _cells(row)) for number, row in rows if row.strip()):
        where = f"{path}, line {number}"
        if not lines:
            if [cell.lower() for cell in cells[1:4]] != ["m", "n", "k"]:
                raise InputError(f"{where} must be the header {_HEADER!r}, not {', '.join(cells)}")
            lines[None] = number
            continue
        layer = _read_row(where, cells, weight=weight, head_weight=head_weight, kv=kv)
        if layer.name in lines:
            raise InputError(f"{where} has {layer.name} again, after line {lines[layer.name]}")
        lines[layer.name] = number
        layers.append(layer)
    if not layers:
        raise InputError(f"{path} has no layers")
    tokens = max(layer.gemm.m for layer in layers)
    return Trace(name=path.stem, phase=phase, tokens=tokens, layers=tuple(layers))


def trace_scalesim(trace: Trace) -> str:
    """Write the matrix products of a trace as a GEMM topology CSV.

    A layer is one line, since SCALE-Sim would only repeat itself; `*32` after its name stands for
    its occurrences. Number formats and vector work have no place there.
    """
    lines = [_HEADER]
    for layer in trace:
        if re.search(r"[,\n\r]|^\s|\s$|\*[0-9]+$", layer.name):
            raise InputError(f"layer name {layer.name!r} cannot be written to a CSV")
        counted = f"{layer.name}*{layer.count}" if layer.count > 1 else layer.name
        lines.append(f"{counted}, {layer.gemm.m}, {layer.gemm.n}, {layer.gemm.k},")
    return "\n".join(lines) + "\n"


def _cells(row: str) -> list[str]:
    """Split a line of a CSV, without the empty cell behind a trailing comma."""
    cells = [cell.strip() for cell in row.split(",")]
    return cells if cells[-1] else cells[:-1]


def _read_row(where: str, cells: list[str], **dtypes: str) -> Layer:
    if len(cells) < 4:
        raise InputError(f"{where} must hold a name, M, N and K, not {', '.join(cells)}")
    if any(cell != "1:1" for cell in cells[4:]):
        raise InputError(f"{where} has more than name, M, N and K: {', '.join(cells[4:])}")
    counted = _COUNTED.fullmatch(cells[0])
    name, count = counted.groups() if counted else (cells[0], "1")
    if not name:
        raise InputError(f"{where} has no name")
    m, n, k, count = (
        _decimal(f"{where}: {key}", cell)
        for key, cell in zip(("M", "N", "K", "count"), (*cells[1:4], count), strict=True)
    )
    return Layer(name=name, gemm=Gemm(m, k, n), count=count, **operand_dtypes(name, **dtypes))


def _decimal(where: str, cell: str) -> int:
    if not (cell.isascii() and cell.isdecimal()) or len(cell) > 30:
        raise InputError(f"{where} must be an integer, not {cell!r:.60}")
    return require_int(where, int(cell), high=_LARGEST)


# Formats in which a trace can be written.
TRACE_FORMATS: Mapping[str, Callable[[Trace], str]] = {
    "yaml": trace_yaml,
    "scalesim": trace_scalesim,
}
