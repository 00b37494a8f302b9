"""PEs, hops and rows, and the systolic array of either dataflow."""
