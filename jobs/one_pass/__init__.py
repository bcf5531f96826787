"""The features of many days in one pass."""
