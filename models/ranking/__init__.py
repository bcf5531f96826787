"""Retrieval, ranking and policy of what is recommended, and how good lists are."""
