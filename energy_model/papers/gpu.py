"""Decoding on the GPU that the papers measured: a roofline, and a pipeline of several GPUs.

The constants that no data sheet has are fitted, by `energy_model.papers.fit`, to what the paper
measured: two for each system, since each has kernels of its own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tritloom.arch.models.shape import ModelShape
from tritloom.arch.ternary import TRIT2
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.machine.file import load_machine
from tritloom.energy_model.machine.machine import Machine
from tritloom.energy_model.published import FITTED

# What no source states (INFERRED): a ternary model's keys and values are INT8 in table 3, and its
# products run at the INT8 peak.
CACHE_BYTES = {"fp16": 2, "ternary": 1}
PEAK = {"fp16": "fp16", "ternary": "int8"}
# Batches of table 3 are multiples of this (INFERRED).
BATCH_STEP = 16


@dataclass(frozen=True, kw_only=True)
class DecodeFit:
    """Two fitted constants of one system.

    Attributes
    ----------
    bandwidth_share : float
        Of the DRAM's peak, at which weights are read.
    block_us : float
        Microseconds that each block takes besides (launches, norms, attention).
    """

    bandwidth_share: float
    block_us: float


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A model in equal stages on several GPUs (pipeline parallel), a batch in each stage.

    Attributes
    ----------
    gpu : Machine
    gpus, context : int
        Stages, and tokens of each sequence.
    sequence_workspace_gb : float
        Memory of each sequence besides its keys and values.
    """

    gpu: Machine
    gpus: int = 2
    context: int = 512
    sequence_workspace_gb: float

    def cache_bytes(self, model: ModelShape, weight: str) -> float:
        """Bytes of one sequence's keys and values, in all stages."""
        return 2 * model.layers * model.kv_features * self.context * CACHE_BYTES[weight]

    def free_bytes(self, model: ModelShape, weight: str) -> float:
        """Bytes of all GPUs' memory that the weights leave."""
        return self.gpus * self.gpu.dram.capacity_bytes - weight_bytes(model, weight)

    def max_batch(self, model: ModelShape, weight: str) -> int:
        """Largest batch whose keys, values and workspace fit beside the weights."""
        sequence = self.cache_bytes(model, weight) + 1e9 * self.sequence_workspace_gb
        return int(self.free_bytes(model, weight) / sequence) // BATCH_STEP * BATCH_STEP

    def stage_s(self, model: ModelShape, weight: str, batch: int) -> float:
        """Seconds of one stage for one token of each sequence of a batch.

        Reading the weights, reading keys and values, and computing follow each other; the latter
        two at the peaks.
        """
        cache_s = batch * self.cache_bytes(model, weight) / self.gpu.dram.bytes_per_s
        weights = model.block_weights + model.vocab * model.hidden
        compute_s = 2 * weights * batch / self.gpu.peaks.ops_per_s[PEAK[weight]]
        return (decode_s(model, weight, self.gpu) + cache_s + compute_s) / self.gpus

    def tokens_per_s(self, model: ModelShape, weight: str, batch: int) -> float:
        """Tokens decoded a second: each stage completes a batch in each stage time."""
        return batch / self.stage_s(model, weight, batch)


def block_bytes(model: ModelShape, weight: str) -> int:
    """Bytes of the decoder blocks' weights in memory, ternary ones at two bits."""
    if weight == "fp16":
        return 2 * model.block_weights
    return model.layers * sum(n * TRIT2.packed_bytes(k) for _, k, n in model.linears())


def weight_bytes(model: ModelShape, weight: str) -> int:
    """Bytes of all weights in memory; embedding and output head are FP16 in both systems."""
    return block_bytes(model, weight) + 2 * model.embedding_weights


def step_bytes(model: ModelShape, weight: str) -> int:
    """Bytes of weights that decoding one token reads: the blocks and the output head."""
    return block_bytes(model, weight) + 2 * model.vocab * model.hidden


def decode_s(model: ModelShape, weight: str, gpu: Machine) -> float:
    """Seconds of one token at batch 1, without reading its few keys and values.

    Models larger than one GPU run on several, one stage after the other, so their time is the same.
    """
    fit = decode_fits()[weight]
    read_s = step_bytes(model, weight) / (fit.bandwidth_share * gpu.dram.bytes_per_s)
    return read_s + model.layers * fit.block_us * 1e-6


@functools.cache
def load_a100() -> Machine:
    """Load the GPU that the papers measured, with the peaks and the DRAM of its data sheet."""
    return load_machine("a100")


@functools.cache
def decode_fits() -> dict[str, DecodeFit]:
    """Load the fitted constants of each system, by dtype of its weights."""
    where, keys = f"{FITTED}: decode_a100", ("bandwidth_share", "block_us")
    fields = _fitted("decode_a100", *CACHE_BYTES)
    fits = {}
    for weight in CACHE_BYTES:
        here = f"{where}.{weight}"
        entry = datafile.record(here, fields[weight], required=keys)
        fits[weight] = DecodeFit(
            **{key: datafile.number(f"{here}.{key}", entry[key]) for key in keys}
        )
    return fits


def load_pipeline() -> Pipeline:
    """Load the pipeline of table 3 of arXiv 2402.17764: two A100-80GB and 512 tokens."""
    key = "sequence_workspace_gb"
    value = _fitted("pipeline_a100", key)[key]
    return Pipeline(
        gpu=load_a100(),
        sequence_workspace_gb=datafile.number(f"{FITTED}: pipeline_a100.{key}", value),
    )


def _fitted(name: str, *keys: str):
    required = (*keys, "tier", "source")
    return datafile.record(
        f"{FITTED}: {name}", datafile.read_yaml(FITTED).get(name), required=required
    )
