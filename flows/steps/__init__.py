"""Prefect's tasks around what does the work."""
