"""Figures of the BitNet papers next to those of the model."""
