"""Edits of vector and SFU instructions."""
