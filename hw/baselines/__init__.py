"""Baselines for the array's PEs: the same ports and registers, plainer arithmetic."""
