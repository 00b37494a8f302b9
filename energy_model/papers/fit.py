"""Constants that no data sheet has, fitted: `python -m energy_model fit` prints data/fitted.yaml.

Least squares on relative errors, so that a 700M model counts as much as a 70B one. Everything
fitted to is in data/paper.yaml, each size and system once (table 1 where figure 2 repeats it).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tritloom.arch.models.known import find_model
from tritloom.energy_model.published import published_series, stated_ratio

from .gpu import BATCH_STEP, Pipeline, load_a100, step_bytes, weight_bytes

DTYPES = {"llama": "fp16", "bitnet": "ternary"}
# The 30 blocks of this size are inferred from its latency, so it is predicted, never fitted to.
HELD_OUT = ("3.9b",)

_TEMPLATE = """\
# Fitted constants. `python -m energy_model fit` prints this file, and a test holds it to that.
# Memory beyond weights, embedding and head, in GB: base_gb + per_1000_hidden_gb * hidden / 1000.
workspace:
  base_gb: {base_gb:.3f}
  per_1000_hidden_gb: {per_1000_hidden_gb:.3f}
  tier: INFERRED
  source: >-
    fitted to the {memory_points} memory points of arXiv 2402.17764, table 1 and figure 2, within \
{low:+.0f} to {high:+.0f} %
# Seconds of one token: bytes / (bandwidth_share * peak bandwidth) + blocks * block_us * 1e-6.
decode_a100:
  fp16: {{bandwidth_share: {fp16[0]:.3f}, block_us: {fp16[1]:.2f}}}
  ternary: {{bandwidth_share: {ternary[0]:.3f}, block_us: {ternary[1]:.2f}}}
  tier: INFERRED
  source: >-
    fitted to the {latency_points} latencies of arXiv 2402.17764, table 1 and figure 2; ratios \
within {rms:.1f} % rms, {left_out:.1f} % rms for a size that the fit leaves out
# Memory of each sequence besides its keys and values: the middle of what fits table 3.
pipeline_a100:
  sequence_workspace_gb: {sequence_gb:.2f}
  tier: INFERRED
  source: >-
    from {sequence_low:.3f} to {sequence_high:.3f} GB, both batches of arXiv 2402.17764, table 3, \
come out
"""


def measured(quantity: str) -> dict[str, dict[str, float]]:
    """Collect published values to fit to, by system and size: "memory" in GB, "latency" in ms."""
    found: dict[str, dict[str, float]] = {system: {} for system in DTYPES}
    for series in published_series():
        if series.quantity == quantity:
            for system, values in found.items():
                for size, value in getattr(series, system).items():
                    if size not in HELD_OUT:
                        values.setdefault(size, value)
    return found


def fit_workspace() -> tuple[float, float, np.ndarray]:
    """Fit the GB of any model and of each 1000 of hidden size; the relative errors come third."""
    published = measured("memory")
    rows, rest, total = [], [], []
    for system, weight in DTYPES.items():
        for size, memory_gb in published[system].items():
            model = find_model(size)
            rows.append((1, model.hidden / 1000))
            rest.append(memory_gb - weight_bytes(model, weight) / 1e9)
            total.append(memory_gb)
    constants, errors = _relative_fit(np.array(rows), np.array(rest), np.array(total))
    return (*constants, errors)


def fit_decode(weight: str, latency_ms: dict[str, float]) -> tuple[float, float]:
    """Fit the share of peak bandwidth and the microseconds of a block to a system's latencies."""
    models = [find_model(size) for size in latency_ms]
    peak = load_a100().dram.bytes_per_s
    rows = [(step_bytes(model, weight) / peak, model.layers) for model in models]
    seconds = np.array(list(latency_ms.values())) / 1e3
    (inverse_share, block_s), _ = _relative_fit(np.array(rows), seconds, seconds)
    return 1 / inverse_share, 1e6 * block_s


def predicted_ratios(sizes: Iterable[str], *, leave_out: bool) -> dict[str, float]:
    """Predict latency ratios FP16 LLaMA / BitNet b1.58 by a fresh fit.

    Parameters
    ----------
    sizes : iterable of str
    leave_out : bool
        Whether each size is predicted by a fit that has not seen it, in either system.
    """
    published, peak = measured("latency"), load_a100().dram.bytes_per_s
    ratios = {}
    for size in sizes:
        model, seconds = find_model(size), {}
        for system, weight in DTYPES.items():
            seen = {s: ms for s, ms in published[system].items() if not (leave_out and s == size)}
            share, block_us = fit_decode(weight, seen)
            read_s = step_bytes(model, weight) / (share * peak)
            seconds[system] = read_s + model.layers * block_us * 1e-6
        ratios[size] = seconds["llama"] / seconds["bitnet"]
    return ratios


def sequence_workspace_gb() -> tuple[float, float]:
    """Find between which GB of a sequence both batches of table 3 are the largest that fit."""
    pipeline = Pipeline(gpu=load_a100(), sequence_workspace_gb=0)
    low, high = -math.inf, math.inf
    for system, values in measured("pipeline batch").items():
        weight = DTYPES[system]
        for size, batch in values.items():
            model = find_model(size)
            free = pipeline.free_bytes(model, weight)
            cache = pipeline.cache_bytes(model, weight)
            low = max(low, (free / (batch + BATCH_STEP) - cache) / 1e9)
            high = min(high, (free / batch - cache) / 1e9)
    return low, high


def fitted_yaml() -> str:
    """Fit all constants and return the text of data/fitted.yaml."""
    base, slope, errors = fit_workspace()
    latencies = measured("latency")
    sizes = list(latencies["llama"])
    low, high = sequence_workspace_gb()
    return _TEMPLATE.format(
        base_gb=base,
        per_1000_hidden_gb=slope,
        memory_points=len(errors),
        low=100 * errors.min(),
        high=100 * errors.max(),
        latency_points=sum(map(len, latencies.values())),
        **{weight: fit_decode(weight, latencies[system]) for system, weight in DTYPES.items()},
        rms=100 * _ratio_rms(predicted_ratios(sizes, leave_out=False)),
        left_out=100 * _ratio_rms(predicted_ratios(sizes, leave_out=True)),
        sequence_gb=(low + high) / 2,
        sequence_low=low,
        sequence_high=high,
    )


def _relative_fit(
    rows: np.ndarray, values: np.ndarray, whole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find constants c that minimise |(rows c - values) / whole|^2, and the errors that remain."""
    constants, *_ = np.linalg.lstsq(rows / whole[:, None], values / whole, rcond=None)
    return constants, (rows @ constants - values) / whole


def _ratio_rms(ratios: dict[str, float]) -> float:
    errors = [
        ratio / stated_ratio("latency", find_model(size)).value - 1
        for size, ratio in ratios.items()
    ]
    return math.sqrt(np.mean(np.square(errors)))
