"""What somebody's mapping says: sources, lookups, expressions."""
