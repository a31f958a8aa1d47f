"""Edits of loops and phases."""
