"""RTL generator, simulator and energy model for ternary LLM accelerators."""
