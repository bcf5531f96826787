"""Brings stage-days up to date, and accounts for them."""
