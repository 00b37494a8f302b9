"""Drawings, the film and the measured figures that the pages quote."""
