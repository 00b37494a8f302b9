"""The figures of the BitNet papers beside those of the model."""
