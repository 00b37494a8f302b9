"""Command line of the generators: `python -m hw`."""

import sys

from tritloom.console.command import Program

PROGRAM = Program(
    "python -m hw",
    "Generates RTL and register maps, and measures the RTL on FPGAs.",
    ["tritloom.hw.command", "tritloom.hw.fpga.command"],
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
