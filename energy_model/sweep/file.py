"""Reader of sweeps from YAML files, which docs/sweep.md describes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tritloom.arch.config import ArrayConfig
from tritloom.arch.errors import InputError, require_int
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.workload import BLOCK_DTYPES
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.table import CostTable, load_costs
from tritloom.energy_model.machine.evaluation import Workload
from tritloom.energy_model.machine.file import load_dram, load_machine
from tritloom.energy_model.machine.machine import Machine

from .sweep import ARRAY, FIGURES, LEVELS, OBJECTIVES, PARAMETERS, REALS, TASK, WORKLOAD, Sweep

METHODS = ("grid", "random")
_DEFAULTS = {
    "hardware": "large",
    "weight": None,
    "phase": "decode",
    "batch": 1,
    "context": 512,
    "kv_cache": "fp16",
    "lm_head": "fp16",
}


def read_sweep(path: Path, *, find_model: Callable[[str], ModelShape]) -> Sweep:
    """Read the sweep that a YAML file describes.

    Parameters
    ----------
    find_model : function
        Returns the model of a name or of a path.

    Raises
    ------
    InputError
        A value is not what it must be; the message names file, line and key.
    """
    content = datafile.read_yaml(path).only(
        "parameters",
        optional=("title", "method", "samples", "seed", "costs", "objectives", "per"),
    )
    fields = content.record("parameters").only("model", optional=PARAMETERS)
    method = content.get("method", "grid")
    _among(content, "method", [method], METHODS)
    given = {name: _listed(fields, name) for name in fields}
    hardware = given.get("hardware", (_DEFAULTS["hardware"],))
    machines = _named(fields, "hardware", hardware, load_machine)
    _check(fields, given, machines)
    for name in {*REALS} & {*given}:
        given[name] = tuple(map(float, given[name]))
    parameters = {
        name: given.get(name, (_DEFAULTS.get(name),))
        for name in PARAMETERS
        if name in given or name in _DEFAULTS
    }
    samples, seed = _random(content, method, math.prod(map(len, parameters.values())))
    return Sweep(
        title=content.text("title") if "title" in content else path.stem,
        parameters=parameters,
        method=method,
        samples=samples,
        seed=seed,
        objectives=_objectives(content, machines),
        per=_among(content, "per", _listed(content, "per", TASK), tuple(parameters)),
        machines=machines,
        models=_named(fields, "model", given["model"], find_model),
        drams=_named(fields, "dram", given.get("dram", ()), load_dram),
        costs=_costs(content),
    )


def _listed(fields: datafile.Record, key: str, default: tuple = ()) -> tuple:
    """Return the values of a key that holds a list or one value."""
    if key not in fields:
        return default
    values = fields[key] if isinstance(fields[key], list) else [fields[key]]
    if not values:
        raise InputError(f"{fields.at(key)} is an empty list")
    for place, value in enumerate(values):
        if isinstance(value, list | dict) or value is None:
            raise InputError(f"{fields.at(key)}[{place}] must be a number or text, not {value!r}")
        if value in values[:place]:
            raise InputError(f"{fields.at(key)} has {value!r} twice")
    return tuple(values)


def _among(fields: datafile.Record, key: str, values: Iterable, known: Sequence[str]) -> tuple:
    for value in values:
        if value not in known:
            raise InputError(f"{fields.at(key)} must be among {', '.join(known)}, not {value!r}")
    return tuple(values)


def _named(fields: datafile.Record, key: str, names: tuple, find: Callable) -> dict:
    found = {}
    for name in names:
        try:
            found[name] = find(datafile.text(key, name))
        except InputError as error:
            place = fields.at(key) if key in fields else fields.place()
            raise InputError(f"{place}: {error}") from None
    return found


def _check(fields: datafile.Record, given: Mapping, machines: Mapping[str, Machine]) -> None:
    """Refuse values that are impossible alone; impossible combinations are infeasible points."""
    for name, values in given.items():
        for place, value in enumerate(values):
            try:
                _check_value(name, value, machines)
            except InputError as error:
                raise InputError(f"{fields.at(name)}[{place}]: {error}") from None


def _check_value(name: str, value: Any, machines: Mapping[str, Machine]) -> None:
    if name in ARRAY:
        for machine in machines.values():
            if machine.is_roofline:
                raise InputError(f"{name} is of an array, which {machine.name} has not")
        if name == "cols_per_hop":
            require_int(name, value, high=1024)
        else:
            others: dict[str, Any] = {"rows": 1, "cols": 1, "lanes": 1}
            ArrayConfig(**(others | {name: value}))
    elif name in WORKLOAD:
        Workload(**{WORKLOAD[name]: value})
    elif name in (*LEVELS, "sram_bytes"):
        if not datafile.number(name, value) and name.startswith("dram"):
            raise InputError(f"{name} must be above 0, not {value}")
    elif name == "weight" and value not in BLOCK_DTYPES:
        raise InputError(f"weight must be {' or '.join(BLOCK_DTYPES)}, not {value!r}")


def _random(content: datafile.Record, method: str, combinations: int) -> tuple[int, int]:
    """Read the samples and the seed of a random sweep; both are 0 for a grid."""
    if method == "grid":
        for name in ("samples", "seed"):
            if name in content:
                raise InputError(f"{content.at(name)} is of a random sweep: say method: random")
        return 0, 0
    content.only("samples", optional=tuple(content))
    if combinations >= 1 << 62:
        raise InputError(f"{content.at('parameters')} have {combinations} combinations: too many")
    return (
        require_int(content.at("samples"), content["samples"], high=combinations),
        require_int(content.at("seed"), content.get("seed", 0), low=0),
    )


def _objectives(content: datafile.Record, machines: Mapping[str, Machine]) -> tuple[str, ...]:
    names = _listed(content, "objectives", OBJECTIVES)
    _among(content, "objectives", names, tuple(FIGURES))
    if any(name.startswith("area") for name in names):
        for machine in machines.values():
            if machine.is_roofline:
                place = content.at("objectives") if "objectives" in content else content.path
                raise InputError(f"{place}: area is of an array, which {machine.name} has not")
    return names


def _costs(content: datafile.Record) -> CostTable:
    if "costs" not in content:
        return load_costs("paper")
    try:
        return load_costs(content.text("costs"))
    except InputError as error:
        raise InputError(f"{content.at('costs')}: {error}") from None
