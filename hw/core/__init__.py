"""The array behind AXI: registers, sequencer, weight unpacker, counters."""
