"""Measured accelerators, and SCALE-Sim's cycles, next to the model's."""
