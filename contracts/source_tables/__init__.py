"""The tables that a mapping's sources fill, a module each: what its rows are, say and count for."""
