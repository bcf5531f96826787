"""Brings days of stages up to date, and accounts for them."""
