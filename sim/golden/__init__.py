"""NumPy golden model: numerics of BitNet, and the array cycle by cycle."""
