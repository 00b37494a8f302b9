"""The core in a native simulation: layers, whole models, soaks, boards."""
