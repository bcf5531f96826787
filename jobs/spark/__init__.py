"""Spark's session, files and schemas."""
