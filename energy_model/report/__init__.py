"""BitNet b1.58 beside FP16 LLaMA: figures, notes, tables, page and plot."""
