"""Machines from their files, or from a name: `energy_model/data/hardware`, docs/energy.md.

What a machine is, and what a layer takes on it, is in `energy_model.machine.machine`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from tritloom.arch.config import ArrayConfig, preset
from tritloom.arch.errors import InputError, require_one_of
from tritloom.arch.ternary import PACKINGS, TRIT2, Packing
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import Cost, load_costs, read_cost, read_costs

from .machine import COMPUTE, NO_LEAKAGE, NO_SRAM, Dram, Machine, Peaks, Sram, Static

DEFAULT_DRAM = "hbm2e_a100"
_PRESETS = datafile.DATA / "hardware"
# The cost that states the energy of each memory level of a hardware file.
_LEVELS = {"registers": "hop_bits", "buffers": "buffer_bits", "sram": "sram_bits"}


def hardware_names() -> list[str]:
    """The machines that have a file of their own."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def load_machine(name: str) -> Machine:
    """The machine of a name, of a YAML file, or of ROWSxCOLSxLANES[/COLS_PER_HOP].

    Parameters
    ----------
    name : str
        "large" or another machine that ships (docs/energy.md), a path that ends in .yaml, or the
        shape of an array, such as "4x256x64/16".

    Returns
    -------
    Machine

    Raises
    ------
    InputError
        There is no such machine or file, or a value in it is not what it must be; the message
        names file, line and key.
    """
    if name.lower().endswith((".yaml", ".yml")):
        return _read_machine(Path(name).stem, Path(name))
    if name in hardware_names():
        return _read_machine(name, _PRESETS / f"{name}.yaml")
    array = parse_array(name)
    return Machine(name=name, title=f"ternary array {name}", engine=array, dram=load_dram())


def parse_array(name: str) -> ArrayConfig:
    """The array of ROWSxCOLSxLANES with an optional /COLS_PER_HOP.

    >>> parse_array("4x1024x16/64").hops
    16
    """
    shape, _, hop = name.partition("/")
    sides = shape.split("x")
    if len(sides) != 3 or not all(side.isdecimal() for side in [*sides, hop or "1"]):
        raise InputError(
            f"unknown hardware {name!r}; known: {', '.join(hardware_names())}, the path of a .yaml "
            "file, or ROWSxCOLSxLANES with an optional /COLS_PER_HOP"
        )
    rows, cols, lanes = map(int, sides)
    return ArrayConfig(rows=rows, cols=cols, lanes=lanes, cols_per_hop=int(hop or 1))


def load_dram(name: str = DEFAULT_DRAM) -> Dram:
    """The external memory of that name."""
    content = datafile.read_yaml(datafile.DATA / "dram.yaml")
    if name not in content:
        raise InputError(f"unknown DRAM {name!r}; known: {', '.join(content)}")
    return _read_dram(name, content.record(name))


def _read_machine(name: str, path: Path) -> Machine:
    content = datafile.read_yaml(path).only(
        "title", "memory", optional=("array", "peaks", "packing", "compute", "costs", "static_w")
    )
    if ("array" in content) == ("peaks" in content):
        raise InputError(f"{path} must have either an array or peaks")
    memory = content.record("memory").only("dram", optional=tuple(_LEVELS))
    dram = memory["dram"]
    if isinstance(dram, str):
        try:
            dram = load_dram(dram)
        except InputError as error:
            raise InputError(f"{memory.at('dram')}: {error}") from None
    else:
        dram = _read_dram(f"{name}.dram", memory.record("dram"))
    costs = _read_costs(content) if "costs" in content else {}
    sram = NO_SRAM
    for level in _LEVELS:
        if level not in memory:
            continue
        capacity = ("bytes", "tier", "source") if level == "sram" else ()
        fields = memory.record(level).only(*capacity, optional=("energy",))
        if capacity:
            sram = Sram(
                bytes=fields.number("bytes"), tier=fields.tier("tier"), source=fields.text("source")
            )
        if "energy" in fields:
            costs[_LEVELS[level]] = read_cost(fields, "energy", _LEVELS[level])
    engine = _read_array(content) if "array" in content else _read_peaks(content)
    compute = _read_compute(content, isinstance(engine, Peaks))
    return Machine(
        name=name,
        title=content.text("title"),
        engine=engine,
        dram=dram,
        packing=_read_packing(content) if "packing" in content else TRIT2,
        compute=compute,
        sram=sram,
        costs=costs,
        static=_read_static(content) if "static_w" in content else NO_LEAKAGE,
    )


def _read_array(content: datafile.Record) -> ArrayConfig:
    fields = content.record("array")
    known = tuple(f.name for f in dataclasses.fields(ArrayConfig))
    given = dict(fields.only(optional=("preset", *known)))
    key = "preset"
    try:
        base = dataclasses.asdict(preset(given.pop(key))) if key in given else {}
        for key in ("rows", "cols", "lanes"):
            if key not in base | given:
                raise InputError(f"{key} is missing")
        key = ""
        return ArrayConfig(**(base | given))
    except InputError as error:
        # A parameter's own message begins with its name.
        key = key or str(error).split()[0]
        place = fields.at(key) if key in fields else fields.place()
        raise InputError(f"{place}: {error}") from None


def _read_compute(content: datafile.Record, roofline: bool) -> Mapping[str, str]:
    formats = ("int8", "fp16") if roofline else tuple(COMPUTE)
    if "compute" not in content:
        return COMPUTE
    fields = content.record("compute").only(optional=tuple(COMPUTE))
    for dtype in fields:
        require_one_of(fields.at(dtype), fields[dtype], formats)
    return {**COMPUTE, **fields}


def _read_packing(content: datafile.Record) -> Packing:
    name = content["packing"]
    if not isinstance(name, str) or name not in PACKINGS:
        known = " or ".join(PACKINGS)
        raise InputError(f"{content.at('packing')} must be {known}, not {name!r:.60}")
    return PACKINGS[name]


def _read_costs(content: datafile.Record) -> dict[str, Cost]:
    """The costs of a machine's own, or those of a table that its file names."""
    if not isinstance(content["costs"], str):
        return read_costs(content, "costs")
    try:
        return dict(load_costs(content["costs"]).entries)
    except InputError as error:
        raise InputError(f"{content.at('costs')}: {error}") from None


def _read_peaks(content: datafile.Record) -> Peaks:
    fields = content.record("peaks").only(
        "fp16", "int8", "tier", "source", optional=("efficiency",)
    )
    return Peaks(
        ops_per_s={dtype: fields.positive(dtype) for dtype in ("fp16", "int8")},
        efficiency=_efficiency(fields),
        tier=fields.tier("tier"),
        source=fields.text("source"),
    )


def _read_static(content: datafile.Record) -> Static:
    fields = content.record("static_w").only("low", "nominal", "high", "tier", "source")
    low, nominal, high = (fields.number(level) for level in ("low", "nominal", "high"))
    if not low <= nominal <= high:
        raise InputError(f"{fields.place()}: low, nominal and high must rise")
    return Static(
        watts=Range(low=low, nominal=nominal, high=high),
        tier=fields.tier("tier"),
        source=fields.text("source"),
    )


def _read_dram(name: str, fields: datafile.Record) -> Dram:
    required = ("title", "bytes", "bytes_per_s", "tier", "source", "energy")
    fields.only(*required, optional=("efficiency",))
    return Dram(
        name=name,
        title=fields.text("title"),
        bytes=fields.positive("bytes"),
        bytes_per_s=fields.positive("bytes_per_s"),
        efficiency=_efficiency(fields),
        source=fields.text("source"),
        tier=fields.tier("tier"),
        energy=read_cost(fields, "energy", "dram_bits"),
    )


def _efficiency(fields: datafile.Record) -> float:
    if "efficiency" in fields and fields.positive("efficiency") > 1:
        raise InputError(f"{fields.at('efficiency')} must be at most 1, not {fields['efficiency']}")
    return fields.get("efficiency", 1.0)
