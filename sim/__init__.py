"""Co-simulation of the generated RTL, and runs of whole layers through it."""
