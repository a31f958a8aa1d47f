"""Whether a tunable is the size of a block and nothing else."""
