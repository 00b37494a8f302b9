"""The RTL in a library of standard cells: Liberty files, mapping, timing."""
