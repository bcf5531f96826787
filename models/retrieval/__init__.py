"""What users had, and what models retrieve from it for each of them."""
