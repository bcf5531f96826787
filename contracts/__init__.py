"""What everyone agrees on: tables, features, tasks, days."""
