"""Ranking and policy of what is recommended, and how good lists are."""
