"""Command `tritloom`, also `python -m tritloom`: the commands of all rooms."""

import sys

from tritloom.console.command import Program

PROGRAM = Program(
    "tritloom",
    "Generates, simulates and prices accelerators for ternary large language models.",
    [
        "tritloom.hw.command",
        "tritloom.hw.fpga.command",
        "tritloom.sim.run.command",
        "tritloom.sim.checkpoints.command",
        "tritloom.sim.power.command",
        "tritloom.sim.bench.command",
        "tritloom.sim.prove.command",
        "tritloom.sim.faults.command",
        "tritloom.sim.coverage.command",
        "tritloom.sim.figures.command",
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
