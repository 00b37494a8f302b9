"""Figures that the BitNet papers publish, to print beside those of the model."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from tritloom.arch.errors import InputError
from tritloom.arch.models.shape import ModelShape
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.tiers import Tier

# The conditions of the paper's figures. Figure 3 states its 512 tokens; the rest is INFERRED.
BATCH, CONTEXT = 1, 512
_PATH = datafile.DATA / "paper.yaml"
FITTED = datafile.DATA / "fitted.yaml"  # `python -m energy_model fit` prints it
_ANY = "any"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published value with its source."""

    value: float
    source: str
    tier: Tier


@dataclass(frozen=True, kw_only=True)
class Series:
    """Published values of one quantity, in the unit that the paper prints.

    Attributes
    ----------
    source, figure, quantity, unit : str
        Such as "arXiv 2402.17764", "table 1", "memory" and "GB".
    digitised : bool
        Whether the values are read off a figure's pixels, within 1 to 2 %.
    llama, bitnet : mapping of str to float
        Values by size of the model.
    """

    source: str
    figure: str
    quantity: str
    unit: str
    digitised: bool
    llama: Mapping[str, float]
    bitnet: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class OneBit:
    """One model of arXiv 2310.11453, table 1: its shape and its joules by number format.

    Attributes
    ----------
    size : str
    hidden, layers, heads : int
    joules : mapping of str to tuple of float
        "fp32", "fp16" and "1-bit": multiplies and adds at 7 nm, then at 45 nm.
    """

    size: str
    hidden: int
    layers: int
    heads: int
    joules: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class WorkspaceRule:
    """Memory beyond weights, embedding and head, in GB: base + per 1000 of hidden size."""

    base_gb: float
    per_1000_hidden_gb: float
    source: str
    tier: Tier


def published_ratio(figure: str, model: ModelShape) -> Published | None:
    """The published ratio FP16 LLaMA / BitNet b1.58 of a figure, where there is one.

    Parameters
    ----------
    figure : "arithmetic", "energy", "memory", "latency" or any other
    model : ModelShape
        The models of figure 3 have its energies only.
    """
    size = model.name.removeprefix("figure3-")
    if figure in ("memory", "latency") and size != model.name:
        return None
    by_size = _ratios().get(figure, {})
    return by_size.get(size) or by_size.get(_ANY)


def stated_ratio(figure: str, model: ModelShape) -> Published:
    """The published ratio of a figure; `InputError` where the papers state none."""
    found = published_ratio(figure, model)
    if found is None:
        raise InputError(f"no paper states a ratio of {figure} for {model.name}")
    return found


def workspace_bytes(model: ModelShape) -> float:
    """Memory beyond weights, embedding, head and key-value cache.

    The fit holds what a sequence caches under the paper's conditions; that is taken off here, so
    that the cache can follow batch and context.
    """
    rule = workspace_rule()
    fitted = 1e9 * (rule.base_gb + rule.per_1000_hidden_gb * model.hidden / 1000)
    cached = 2 * model.layers * model.kv_features * CONTEXT * 2  # keys and values, two bytes each
    return max(0.0, fitted - cached)


@functools.cache
def workspace_rule() -> WorkspaceRule:
    """The fit to the paper's memory figures."""
    where = f"{FITTED}: workspace"
    rule = datafile.record(
        where,
        datafile.read_yaml(FITTED).get("workspace"),
        required=("base_gb", "per_1000_hidden_gb", "tier", "source"),
    )
    return WorkspaceRule(
        base_gb=datafile.number(f"{where}.base_gb", rule["base_gb"]),
        per_1000_hidden_gb=datafile.number(
            f"{where}.per_1000_hidden_gb", rule["per_1000_hidden_gb"]
        ),
        tier=datafile.tier(f"{where}.tier", rule["tier"]),
        source=datafile.text(f"{where}.source", rule["source"]),
    )


@functools.cache
def published_series() -> tuple[Series, ...]:
    """Every absolute value of arXiv 2402.17764 that a model here predicts."""
    text = ("figure", "quantity", "unit", "source")
    series = []
    for number, value in enumerate(_content()["values"], 1):
        where = f"{_PATH}: values[{number}]"
        entry = datafile.record(where, value, required=(*text, "digitised", "llama", "bitnet"))
        if not isinstance(entry["digitised"], bool):
            raise InputError(f"{where}.digitised must be true or false")
        series.append(
            Series(
                **{key: datafile.text(f"{where}.{key}", entry[key]) for key in text},
                digitised=entry["digitised"],
                llama=_numbers(f"{where}.llama", entry["llama"]),
                bitnet=_numbers(f"{where}.bitnet", entry["bitnet"]),
            )
        )
    return tuple(series)


@functools.cache
def published_one_bit() -> tuple[OneBit, ...]:
    """Table 1 of arXiv 2310.11453."""
    formats = ("fp32", "fp16", "1-bit")
    models = []
    for size, value in datafile.mapping(str(_PATH), _content()["bitnet_1bit"]).items():
        where = f"{_PATH}: bitnet_1bit.{size}"
        entry = datafile.record(where, value, required=("shape", *formats))
        shape = datafile.record(
            f"{where}.shape", entry["shape"], required=("hidden", "layers", "heads")
        )
        joules = {
            name: tuple(datafile.number(f"{where}.{name}", joule) for joule in entry[name])
            for name in formats
        }
        for name, cells in joules.items():
            if len(cells) != 4:
                raise InputError(f"{where}.{name} must have 4 values, not {len(cells)}")
        models.append(OneBit(size=size, joules=joules, **shape))
    return tuple(models)


@functools.cache
def _ratios() -> Mapping[str, Mapping[str, Published]]:
    """Published ratios by figure and size."""
    where = f"{_PATH}: ratios"
    ratios: dict[str, dict[str, Published]] = {}
    for figure, value in datafile.mapping(where, _content()["ratios"]).items():
        here = f"{where}.{figure}"
        entry = datafile.record(here, value, required=("source", "tier", "by_size"))
        source = datafile.text(f"{here}.source", entry["source"])
        tier = datafile.tier(f"{here}.tier", entry["tier"])
        ratios[figure] = {
            size: Published(value=ratio, source=source, tier=tier)
            for size, ratio in _numbers(f"{here}.by_size", entry["by_size"]).items()
        }
    return ratios


def _numbers(where: str, value: object) -> Mapping[str, float]:
    values = datafile.mapping(where, value)
    return {key: datafile.number(f"{where}.{key}", one) for key, one in values.items()}


@functools.cache
def _content() -> Mapping:
    return datafile.record(
        str(_PATH), datafile.read_yaml(_PATH), required=("ratios", "values", "bitnet_1bit")
    )
