"""Costs, energy, latency and reports: counts times costs."""
