"""What `nightjar up` serves."""
