"""The core between the pins of an FPGA board: UART, loader, FIFOs."""
