"""Runs inside the simulator: ten edges of the clock, for the test of `sim.coverage.measure`."""

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def ten_edges(dut):
    """All else stays at 0."""
    dut.flag.value = 0
    for _edge in range(10):
        dut.clk.value = 0
        await Timer(1, "ns")
        dut.clk.value = 1
        await Timer(1, "ns")
