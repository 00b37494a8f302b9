"""What the BitNet b1.58 paper publishes, to print beside what the model says."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from arch.workload import ModelShape

from . import datafile
from .tiers import Tier

# The conditions of the paper's figures. Figure 3 states its 512 tokens; the rest is INFERRED.
BATCH, CONTEXT = 1, 512
_PATH = datafile.DATA / "paper.yaml"
_ANY = "any"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published value with its source."""

    value: float
    source: str
    tier: Tier


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
    where = f"{_PATH}: workspace"
    rule = datafile.record(
        where,
        _content()["workspace"],
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
            size: Published(
                value=datafile.number(f"{here}.{size}", ratio), source=source, tier=tier
            )
            for size, ratio in datafile.mapping(f"{here}.by_size", entry["by_size"]).items()
        }
    return ratios


@functools.cache
def _content() -> Mapping:
    return datafile.record(str(_PATH), datafile.read_yaml(_PATH), required=("ratios", "workspace"))
