"""The page about a night."""
