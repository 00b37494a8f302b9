"""Lines, toggles and crosses of the RTL that the benches reach."""
