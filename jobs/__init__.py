"""Spark: DataFrames in, DataFrames out."""
