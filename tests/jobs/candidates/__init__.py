"""Candidates by counting."""
