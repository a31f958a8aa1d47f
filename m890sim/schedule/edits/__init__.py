"""The edits, one family a folder."""
