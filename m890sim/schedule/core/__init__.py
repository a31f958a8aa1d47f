"""What edits ask of a kernel: each analysis once."""
