"""Properties of the RTL, each with a fault that its proof must refute: `python -m sim prove`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, Technology
from tritloom.arch.errors import InputError, MismatchError
from tritloom.console.progress import track
from tritloom.console.sheet import Sheet, Table, show
from tritloom.sim.bench.runner import plant

from . import array, control, pe, streams, unpacker
from .formal import Method, ProvedDesign, Statements, Verdict, prove, solver, system


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A property of a design.

    Attributes
    ----------
    name : str
    design : callable
        Design of a configuration.
    statements : callable
        Statements about the design of a configuration.
    config : ArrayConfig
    where : str
        Name of the configuration.
    method : Method
    depth : int
        Cycles; of an induction, those that the next one rests on.
    fault : str
        Fault of the mutant.
    within : int
        Cycles from a reset in which it must show.
    pattern, replacement : str
        What to replace in the Verilog to make the mutant.
    narrower : ArrayConfig, optional
        Configuration whose RTL is the mutant instead.
    """

    name: str
    design: Callable[[ArrayConfig], ProvedDesign]
    statements: Callable[[ArrayConfig], Statements]
    config: ArrayConfig
    where: str
    method: Method = Method.INDUCTION
    depth: int = 1
    fault: str
    within: int = 8
    pattern: str = ""
    replacement: str = ""
    narrower: ArrayConfig | None = None

    def run(self) -> Verdict:
        """Prove the property."""
        return prove(self._system(self.design(self.config)), self.method, self.depth)

    def run_mutant(self) -> Verdict:
        """Look for a run that shows the mutant's fault."""
        design = self.design(self.narrower or self.config)
        if not self.narrower:
            faulty = plant(design.verilog, self.pattern, self.replacement)
            design = dataclasses.replace(design, verilog=faulty)
        return prove(self._system(design), Method.BOUNDED, self.within)

    def _system(self, design):
        return system(design, self.statements(self.config))


def _pe(where, *, fault, pattern="", replacement="", narrower=None, **changes):
    config = ArrayConfig(rows=2, cols=1, **changes)
    return Proof(
        name="psum is the sum, without overflow",
        design=pe.design,
        statements=pe.sums,
        config=config,
        where=where,
        fault=fault,
        pattern=pattern,
        replacement=replacement,
        narrower=narrower and config.replace(**narrower),
    )


def _whole(where, *, fault, pattern, replacement, **changes):
    config = ArrayConfig(rows=1, cols=1, lanes=4, **changes)
    return Proof(
        name="psum is the sum, without overflow",
        design=pe.whole_design,
        statements=pe.whole_sums,
        config=config,
        where=where,
        depth=pe.whole_depth(config),
        fault=fault,
        pattern=pattern,
        replacement=replacement,
    )


def _product(where, config, *, fault, pattern, replacement, within=12):
    return Proof(
        name="psums are the product, in order, and hold",
        design=array.design,
        statements=array.product,
        config=config,
        where=where,
        depth=array.depth(config),
        fault=fault,
        pattern=pattern,
        replacement=replacement,
        within=within,
    )


SMALL = ArrayConfig(rows=1, cols=2, lanes=1, act_bits=2, max_k=4)
WEIGHT_STATIONARY = SMALL.replace(rows=2, buffer_tokens=3, dataflow=Dataflow.WEIGHT_STATIONARY)
TINY = SMALL.replace(rows=2)

PROOFS = {
    "sum_1": _pe(
        "1 lane, k to 5",
        lanes=1,
        max_k=5,
        fault="complement without its carry",
        pattern=r"\$signed\(\{ sum_0_0, carry_0_0 \}\)",
        replacement="$signed({ sum_0_0, 1'h0 })",
        select_stages=1,
    ),
    "sum_narrow": _pe(
        "4 lanes, k to 16",
        lanes=4,
        max_k=16,
        fault="an accumulator of a bit less",
        narrower={"max_k": 8},
    ),
    "sum_4": _pe(
        "4 lanes, as tiny",
        lanes=4,
        fault="first does not clear",
        pattern=r"first \? 24'h0+ : accumulator;",
        replacement="accumulator;",
    ),
    "sum_16": _pe(
        "16 lanes, as base and decode",
        lanes=16,
        fault="an adder loses its carry",
        pattern=r"\$signed\(\{ sum_2_3, carry_2_2 \}\)",
        replacement="$signed({ sum_2_3, 1'h0 })",
    ),
    "sum_17": _pe(
        "17 lanes, a register behind each level",
        lanes=17,
        levels_per_stage=1,
        select_stages=1,
        input_stages=0,
        fault="the odd lane left out",
        pattern=r"sum_1_8 <= sum_0_16;",
        replacement="sum_1_8 <= 8'h00;",
    ),
    "sum_80": _pe(
        "80 lanes, as kv260",
        lanes=80,
        fault="the last lane does not complement",
        pattern=r"operand_79 = gated_79 \^ .*;",
        replacement="operand_79 = gated_79;",
    ),
    "sum_weight_stationary": _pe(
        "4 lanes, weight-stationary",
        lanes=4,
        dataflow=Dataflow.WEIGHT_STATIONARY,
        fault="the psum from the north is not added",
        pattern=r"\$signed\(\{ psum_north,",
        replacement="$signed({ 24'h000000,",
    ),
    "sum_ecp5": _whole(
        "4 lanes, carry cells of an ECP5",
        lanes_per_chain=4,
        input_stages=0,
        technology=Technology.ECP5,
        fault="a carry cell's function is another",
        pattern=r"(\.INIT0\(16'h)965a",
        replacement=r"\g<1>966a",
    ),
    "sum_asic": _whole(
        "4 lanes, full adders",
        carries_per_stage=15,
        technology=Technology.ASIC,
        fault="a full adder's carry is none",
        pattern=r"assign con = ~\(\(a & b\) \| ",
        replacement="assign con = ~(",
    ),
    "psums": Proof(
        name="psums leave in order",
        design=streams.core,
        statements=streams.psums,
        config=SMALL,
        where="1x2x1",
        fault="front taken while it is stalled",
        pattern=r"(assign \w+ = )(\w+) \| m_axis_psums_tready;",
        replacement=r"\1 1'h1;",
    ),
    "psums_held": Proof(
        name="a psum that is offered holds, whatever soft resets come",
        design=streams.core,
        statements=streams.psums_hold,
        config=SMALL,
        where="1x2x1",
        fault="withdrawn by a soft reset",
        pattern=r"if \(rst\) (m_axis_psums_tvalid <= 1'h0;)",
        replacement=r"if (inner_rst) \1",
    ),
    "axil": Proof(
        name="AXI4-Lite: one answer to each request, and it holds",
        design=control.bus,
        statements=control.answers,
        config=SMALL,
        where="1x2x1",
        fault="read data changes while it is stalled",
        pattern=r"if \(taken\)( s_axil_rdata)",
        replacement=r"if (1'h1)\1",
        # A round of the counters goes first, in which no read is taken.
        within=40,
    ),
    "axil_time": Proof(
        name="AXI4-Lite: answers in time",
        design=control.bus,
        statements=control.in_time,
        config=SMALL,
        where="1x2x1",
        fault="copying does not end",
        pattern=r"copied <= wanted;",
        replacement="copied <= 1'h1;",
        within=40,
    ),
    "rest": Proof(
        name="the sequencer comes to rest",
        design=control.walker,
        statements=control.rest,
        config=SMALL,
        where="1x2x1",
        fault="tokens not counted down",
        pattern=r"\$signed\(m_less\) - \$signed\(2'h1\)",
        replacement="$signed(m_less)",
    ),
    "rest_weight_stationary": Proof(
        name="the sequencer comes to rest",
        design=control.walker,
        statements=control.rest,
        config=WEIGHT_STATIONARY,
        where="2x2x1, weight-stationary, 3 tokens",
        fault="k not counted down",
        pattern=r"\$signed\(k_less\) - \$signed\(\d'h\d\)",
        replacement="$signed(k_less)",
    ),
    "loads_rest": Proof(
        name="the walker of trits comes to rest",
        design=control.loads,
        statements=control.loads_rest,
        config=WEIGHT_STATIONARY,
        where="2x2x1, weight-stationary, 3 tokens",
        fault="output features not counted down",
        pattern=r"\$signed\(n_less\) - \$signed\(\d'h\d\)",
        replacement="$signed(n_less)",
    ),
    "descriptors": Proof(
        name="descriptors leave in order, and hold",
        design=control.descriptors,
        statements=control.queued,
        config=SMALL,
        where="1x2x1",
        fault="a full queue overwrites its oldest",
        pattern=r"(\.write_data\(\{ field_options[^;]*\.write_enable\()\w+",
        replacement=r"\g<1>1'h1",
        within=24,
    ),
    "fifo": Proof(
        name="bytes leave in order, and hold",
        design=streams.fifo,
        statements=streams.bytes_in_order,
        config=SMALL,
        where="a board's FIFO",
        fault="fetches while it is stalled",
        pattern=r"fetch = (\w+) & \w+;",
        replacement=r"fetch = \1;",
    ),
    "acts": Proof(
        name="acts hold",
        design=control.walker,
        statements=control.acts_hold,
        config=SMALL,
        where="1x2x1",
        fault="the act buffer's register does not wait",
        pattern=r"\.output_enable\(takes_offered\)",
        replacement=".output_enable(1'h1)",
    ),
    "product": _product(
        "2x2x1 of 2-bit acts",
        TINY,
        fault="the next tile ends before psums are taken",
        pattern=r"blocked = acts_last & ended",
        replacement="blocked = acts_last & ended & ~psums_valid",
    ),
    "product_shared": _product(
        "3x4x2 of 3-bit acts, 2 columns a hop",
        ArrayConfig(rows=3, cols=4, lanes=2, act_bits=3, max_k=8, cols_per_hop=2, input_stages=0),
        fault="psums go south while they are not taken",
        pattern=r"taken = psums_valid & psums_ready",
        replacement="taken = psums_valid",
    ),
    "product_tiny": _product(
        "2x2x4, the preset tiny",
        PRESETS["tiny"],
        fault="a tile does not begin from zero",
        pattern=r"first \? 24'h0+ : accumulator;",
        replacement="accumulator;",
    ),
    "bytes": Proof(
        name="a byte's trits are those of arch.ternary",
        design=unpacker.decoder,
        statements=unpacker.bytes_are_the_table,
        config=SMALL,
        where="trit2 and trit5, all bytes",
        fault="trit5's escape is not seen",
        pattern=r"escape = packing & \w+;",
        replacement="escape = 1'h0;",
    ),
    "unpacker": Proof(
        name="trits leave in order, and hold",
        design=unpacker.design,
        statements=unpacker.stream,
        config=SMALL.replace(cols=4),
        where="4 positions",
        fault="the fourth beat does not wait for its place",
        pattern=r"(assign room = \w+ \| )free;",
        replacement=r"\1 1'h1;",
        within=12,
    ),
}


def show_proofs(names: Sequence[str]) -> None:
    """Run proofs, all where none is named, and their mutants; print a table.

    Raises
    ------
    InputError
        A name is unknown, or the solver is not installed.
    MismatchError
        A property is not proved, or a mutant not refuted.
    """
    for name in names:
        if name not in PROOFS:
            raise InputError(f"unknown proof {name!r}; known: {', '.join(PROOFS)}")
    if solver() is None:
        raise InputError("Yices is missing: install the package's `prove` extra")
    rows, failed = [], []
    wanted = names or tuple(PROOFS)
    for name in track(wanted, "proving", len(wanted), "proofs"):
        proof = PROOFS[name]
        start = time.perf_counter()
        verdict = proof.run()
        between = time.perf_counter()
        mutant = proof.run_mutant()
        end = time.perf_counter()
        if not (verdict.proved and mutant.refuted):
            failed.append(name)
        rows.append(
            (
                name,
                proof.name,
                proof.where,
                f"{proof.method}, {proof.depth}",
                f"{between - start:.1f}",
                "proved" if verdict.proved else f"NOT PROVED: {verdict.why}",
                proof.fault,
                f"{end - between:.1f}",
                "refuted" if mutant.refuted else "NOT REFUTED",
            )
        )
    headers = ("", "property", "of", "how", ">s", "", "a fault", ">s", "")
    show(Sheet(parts=[Table(headers=headers, rows=rows)]))
    if failed:
        raise MismatchError(f"not proved, or a fault of it not refuted: {', '.join(failed)}")
