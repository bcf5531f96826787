"""Iceberg tables over Parquet files."""
