"""Trace files in and out, and prices of a trace or of counted actions."""
