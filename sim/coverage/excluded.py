"""Points of the core's RTL and bins of its crosses that no run hits, with the reason of each."""

from __future__ import annotations

from dataclasses import dataclass

from tritloom.arch.config import Dataflow


@dataclass(frozen=True)
class Excluded:
    """An entry.

    Attributes
    ----------
    module, what : str
        `what` is a regular expression of all of a point's name: `net[bit]:0->1`, or the bin in the
        cross `module`.
    reason : str
    dataflows : tuple of Dataflow
    """

    module: str
    what: str
    reason: str
    dataflows: tuple[Dataflow, ...] = tuple(Dataflow)


OUTPUT_STATIONARY = (Dataflow.OUTPUT_STATIONARY,)
WEIGHT_STATIONARY = (Dataflow.WEIGHT_STATIONARY,)
UPPER = r"\[(1[6-9]|2\d|3[01])\]:.*"
LONG = (
    "a counter beyond 65,535 cycles; sim/bench/test_registers.py reaches the upper word, 1024x1024"
)
REGISTERS, TOP = "tritloom_dut_registers", "tritloom_dut"

EXCLUDED = [
    *(
        Excluded(module, what, reason)
        for module in (TOP, REGISTERS)
        for what, reason in (
            (r"s_axil_a[wr]prot\[[02]\]:.*", "AXI4-Lite's, and nothing reads it"),
            (r"s_axil_[br]resp\[0\]:.*", "constant: OKAY is 0, SLVERR 2"),
        )
    ),
    Excluded(
        TOP, r"s_axil_a[wr]addr\[[01]\]:.*", "the master aligns; the registers' bench does not"
    ),
    Excluded(TOP, r"registers_count_trits\[[0-2]\]:.*", "constant: all 8 trits of a slice count"),
    Excluded("tritloom_dut_array", r"illegal:.*", "the unpacker lets no illegal code through"),
    Excluded(
        "tritloom_dut_array_rows_2", r"psums_north\[\d+\]:.*", "constant: nothing is north of row 0"
    ),
    Excluded("tritloom_dut_unpacker", r"counted\[[01]\]:1->0", "constant: no byte is spare"),
    Excluded("tritloom_dut_array", r"left\[1\]:.*", "constant: of two rows", WEIGHT_STATIONARY),
    *(
        Excluded(module, r"advance:1->0", "constant: nothing freezes", OUTPUT_STATIONARY)
        for module in ("tritloom_dut_array_delay_32x1", "tritloom_dut_array_delay_8x1")
    ),
    Excluded("tritloom_dut_counters", rf"(last|read_data|total|word){UPPER}", LONG),
    Excluded("tritloom_dut_counters", r"carry:.*", LONG),
    Excluded("tritloom_dut_totals", rf"(read|write)_data{UPPER}", LONG),
    Excluded(REGISTERS, rf"counter{UPPER}", LONG),
    Excluded(REGISTERS, r"field_status_runs_done\[([7-9]|1\d)\]:.*", "128 runs and more"),
]

# Bins of `sim.bench.crosses` that are left out, each with its reason.
EXCLUDED_BINS = [
    Excluded("parts of k", r".*part=(first|middle|last)", "a tile has all of k", OUTPUT_STATIONARY),
    Excluded(
        "tiles",
        r".* k=whole .* slices=one .*",
        "a whole tile has as many slices as rows, two",
        WEIGHT_STATIONARY,
    ),
    Excluded(
        "errors",
        r"error=QUEUE_OVERFLOW .* waiting=(none|some)",
        "only a full queue overflows",
    ),
    Excluded(
        "errors",
        r"error=ACTS_EARLY stalls=acts(\+.*)? .*",
        "after a packet that ended early none is asked for in the next cycle, in which it is told",
    ),
]
