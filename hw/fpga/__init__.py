"""What the RTL becomes on an FPGA: cells, clock, bitstream."""
