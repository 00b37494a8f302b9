"""Trace files, read and written, and the price of a trace or of counted actions."""
