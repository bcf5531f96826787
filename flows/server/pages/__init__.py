"""Read-only pages for analysts."""
