"""Shapes of language models and the layers of a pass through them."""
