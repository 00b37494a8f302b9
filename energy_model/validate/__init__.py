"""Measured accelerators, and SCALE-Sim, beside the model."""
