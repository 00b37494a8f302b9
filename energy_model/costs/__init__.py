"""Cost tables, their tiers, ranges and units, and readers of data files."""
