"""Encoders: vectors of content, from whatever folder holds one."""
