"""Command line of the simulations: `python -m sim`."""

import sys

from tritloom.console.command import Program

PROGRAM = Program(
    "python -m sim",
    "Runs layers and models through the generated RTL, measures it and proves properties of it.",
    [
        "tritloom.sim.run.command",
        "tritloom.sim.checkpoints.command",
        "tritloom.sim.power.command",
        "tritloom.sim.bench.command",
        "tritloom.sim.prove.command",
        "tritloom.sim.faults.command",
        "tritloom.sim.coverage.command",
        "tritloom.sim.figures.command",
    ],
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
