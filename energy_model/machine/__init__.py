"""Machines: cycles, bytes, joules and area of a layer and of a whole model."""
