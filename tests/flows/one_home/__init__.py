"""End-to-end tests on one released night, which they share and change in turn."""
