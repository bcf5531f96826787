"""Gradient-boosted trees per task, and the scale on which they are mixed with the network."""
