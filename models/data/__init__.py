"""Parquet as tensors: inputs, encoders, labels."""
