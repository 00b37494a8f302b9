"""Amaranth gateware and the Verilog generator."""
