"""Entry point of `python -m energy_model`."""

import sys

from tritloom.console.command import Program

PROGRAM = Program(
    "python -m energy_model",
    "What a ternary large language model costs in joules, bytes and seconds.",
    [
        "tritloom.energy_model.report.command",
        "tritloom.energy_model.compare.command",
        "tritloom.energy_model.trace.command",
        "tritloom.energy_model.papers.command",
        "tritloom.energy_model.validate.command",
        "tritloom.energy_model.sweep.command",
    ],
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
