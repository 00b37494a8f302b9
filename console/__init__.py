"""How a command parses its options, fails, and prints."""
