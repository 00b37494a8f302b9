"""How willing the sides of a lockstep run are."""

# Share of cycles in which a side is willing, by stream.
SCENARIOS = {
    "steady": {"acts": 1.0, "trits": 1.0, "psums": 1.0},
    "stalled": {"acts": 0.7, "trits": 0.6, "psums": 0.5},
    "starved": {"acts": 0.2, "trits": 0.9, "psums": 0.9},
    "clogged": {"acts": 1.0, "trits": 1.0, "psums": 0.15},
    "illegal": {"acts": 0.9, "trits": 0.9, "psums": 0.8},
    "reset": {"acts": 0.9, "trits": 0.9, "psums": 0.6},
}

# Share of cycles in which a channel of the register bus is held back, by scenario.
BUS_SCENARIOS = {
    "steady": {},
    "idle": {"aw": 0.5, "w": 0.5, "b": 0.5, "ar": 0.5, "r": 0.5},
    "data first": {"aw": 0.8, "ar": 0.8},
    "address first": {"w": 0.8, "r": 0.3},
    "slow answers": {"b": 0.85, "r": 0.85},
}

# Likewise for the unpacker: `weights` and `trits` are the shares of its two streams; `faults` are
# what is done to the passes (see sim/bench/lockstep_unpacker.py).
UNPACKER_SCENARIOS = {
    "steady": {"weights": 1.0, "trits": 1.0, "faults": ()},
    "stalled": {"weights": 0.6, "trits": 0.6, "faults": ()},
    "starved": {"weights": 0.3, "trits": 0.95, "faults": ()},
    "clogged": {"weights": 1.0, "trits": 0.2, "faults": ()},
    "illegal": {"weights": 0.9, "trits": 0.8, "faults": ("illegal",)},
    "early": {"weights": 0.8, "trits": 0.9, "faults": ("early",)},
    "late": {"weights": 0.9, "trits": 0.8, "faults": ("late",)},
    "faulty": {"weights": 1.0, "trits": 1.0, "faults": ("early", "late", "missing", "illegal")},
    "faulty_stalled": {
        "weights": 0.7,
        "trits": 0.7,
        "faults": ("early", "late", "missing", "illegal"),
    },
    "reset": {"weights": 0.9, "trits": 0.7, "faults": ("early", "late", "missing", "illegal")},
}

# The core: share of cycles in which each AXI stream is willing.
CORE_SCENARIOS = {
    "steady": {"acts": 1.0, "weights": 1.0, "psums": 1.0},
    "stalled": {"acts": 0.7, "weights": 0.6, "psums": 0.5},
    "starved": {"acts": 0.9, "weights": 0.2, "psums": 0.9},
    "clogged": {"acts": 1.0, "weights": 1.0, "psums": 0.15},
}
# Tests of the core's bench beside one for each scenario: kinds of damage, kinds of reset, psums
# that wait when a reset comes, packings of a stream that runs ahead, moments of a soft reset, a
# packet without end, m and n, sizes that no run ends with.
CORE_TESTS = 5 + 2 + 1 + 2 + 6 + 1 + 2 + 1
