"""Many machines and workloads, and their Pareto front."""
