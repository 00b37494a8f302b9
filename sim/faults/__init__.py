"""Random single faults in the RTL, which the benches must notice."""
