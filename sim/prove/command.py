"""The command that proves: `prove`."""

from __future__ import annotations

import argparse

from tritloom.console.command import Command


def prove_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `prove`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="proofs to run [all]")


def run_prove(options: argparse.Namespace) -> None:
    """Prove properties and refute their mutants; print a table."""
    from .proofs import show_proofs

    show_proofs(options.names)


COMMANDS = (
    Command(
        name="prove",
        help="prove properties of the RTL for all inputs",
        description="Proves properties of the generated Verilog with Yosys and the SMT solver\n"
        "Yices, and refutes each of a mutant: docs/verification.md.",
        arguments=prove_arguments,
        run=run_prove,
        examples="{prog} prove fifo bytes",
    ),
)
