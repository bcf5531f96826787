"""Tiles, state and features as of a midnight."""
