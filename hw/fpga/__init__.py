"""The RTL on an FPGA: cells, clock, bitstream."""
