"""A mapping tried on the first rows of raw files, in seconds."""
