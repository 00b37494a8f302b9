"""BitNet b1.58 next to FP16 LLaMA: figures, notes, tables, page and plot."""
