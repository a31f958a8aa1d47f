"""Edits of what a work item does."""
