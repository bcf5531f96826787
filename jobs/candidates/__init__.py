"""What can be recommended, who had to do with it, and candidates by counting, as of a midnight."""
