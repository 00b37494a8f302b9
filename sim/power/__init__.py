"""Switching activity and energy of the RTL, up to the table of 7 nm prices."""
