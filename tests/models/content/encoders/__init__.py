"""Encoders in folders."""
