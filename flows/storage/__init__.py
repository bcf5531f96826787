"""Where the home's files are, and the only code that touches them."""
