"""Texts as values: ids, numbers, times, comparable text."""
