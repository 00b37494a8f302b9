"""Assumptions behind the reproduced figures, in place of what the BitNet papers do not state."""

from __future__ import annotations

from collections.abc import Mapping

from tritloom.arch.models.known import find_model
from tritloom.energy_model.published import CONTEXT, workspace_rule

from .fit import DTYPES
from .gpu import BATCH_STEP, decode_fits, load_a100, load_pipeline, step_bytes, weight_bytes
from .reproduce import BATCH_SIZE, SYSTEMS, reproduce


def assumptions() -> Mapping[str, str]:
    """Return what is assumed where the papers state nothing, by key: all of it INFERRED."""
    fits, pipeline, gpu, rule = decode_fits(), load_pipeline(), load_a100(), workspace_rule()
    peaks = gpu.peaks.ops_per_s
    batches = {row.system: row.published for row in reproduce() if row.quantity == BATCH_SIZE}
    model, batch = find_model("70b"), batches["llama"]
    cache_gb = pipeline.cache_bytes(model, "fp16") / 1e9
    bound = batch * gpu.dram.bytes_per_s / step_bytes(model, "fp16")
    needed_gb = weight_bytes(model, "fp16") / 2e9 + batch * cache_gb
    constants = ", ".join(
        f"{SYSTEMS[system]} {fits[weight].bandwidth_share:g} of the peak bandwidth and "
        f"{fits[weight].block_us:g} us a block"
        for system, weight in DTYPES.items()
    )
    return {
        "shapes": "figure 3's models have GPT-shaped blocks of 12 hidden^2 weights; its 3B is "
        "hidden 2560 and 32 blocks, not LLaMA-3B's 3200 and 26",
        "scope": "figure 3's end-to-end energy is arithmetic of the blocks alone, for "
        f"{CONTEXT} tokens: full (not causal) attention in FP16, one FP16 multiply by a scale for "
        "each input and output element of a ternary layer, every ternary addition at 8 bits; no "
        "embedding, no output head, no memory traffic",
        "dimensions": "7B, 13B and 70B have LLaMA's dimensions with multi-head attention (70B: "
        "LLaMA-65B's); 3.9B is the 3B with 30 blocks",
        "workspace": "memory holds ternary weights at 2 bits, FP16 embedding and output head, and "
        f"{rule.base_gb:g} GB + {rule.per_1000_hidden_gb:g} GB for each 1000 of hidden size, "
        f"2 constants {rule.source}",
        "roofline": f"A100 latency: weights and FP16 head at a fitted share of "
        f"{gpu.dram.bytes_per_s / 1e12:g} TB/s, and a fitted time for each block; 4 constants: "
        f"{constants}. Keys and values of one sequence are left out, and a model on several GPUs "
        "runs one stage after the other",
        "cache": f"table 3: keys and values of {pipeline.context} tokens, FP16 for LLaMA, INT8 "
        f"for BitNet b1.58 (in FP16, those of {batches['bitnet']:g} sequences would need "
        f"{batches['bitnet'] * cache_gb:.0f} GB)",
        "fitting": f"table 3: the largest batch is a multiple of {BATCH_STEP} and counts weights, "
        f"keys and values, and {pipeline.sequence_workspace_gb:g} GB of workspace for each "
        f"sequence (1 constant), in {pipeline.gpus} x {gpu.dram.capacity_bytes / 1e9:g} GB",
        "stages": f"table 3: each of {pipeline.gpus} stages completes a batch in its part of the "
        "latency, plus its keys and values at peak bandwidth, plus its operations at "
        f"{peaks['fp16'] / 1e12:g} TFLOPS FP16 or {peaks['int8'] / 1e12:g} TOPS INT8, one after "
        "the other. So a batch is in each stage, though memory counts the keys and values of one: "
        f"the published throughput needs it, since reading FP16 weights for every {batch / 2:g} "
        f"sequences would allow {bound:.0f} token/s at peak bandwidth; yet two batches of "
        f"{batch:g} would need {needed_gb:.0f} GB of each GPU. The paper does not say which",
        "formulas": f"arXiv 2310.11453, table 1: E_add = m (n - 1) p e_add and E_mul = m n p e_mul "
        f"over GPT-shaped blocks and full attention, {CONTEXT} tokens; 1-bit has INT8 adds and "
        "(m n + m p) FP16 multiplies in place of the products with weights, and FP16 attention; "
        "no output head",
    }
