"""Two models on one machine, and the scaling law of the paper."""
