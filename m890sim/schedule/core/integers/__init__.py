"""What is certain of integers at a place of a kernel, and what may go wrong there."""
