"""Weights out of model files, and model folders packed for the core."""
