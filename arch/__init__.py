"""What every other package must agree on: shapes, codes, plans, cycles and counts.

Standard library and NumPy only; imports nothing else of this project.
"""
