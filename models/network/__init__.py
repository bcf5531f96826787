"""The network: inputs, trunk, heads."""
