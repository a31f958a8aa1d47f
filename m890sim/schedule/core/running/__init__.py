"""Running maxima and sums over the blocks of a loop, and whether they may be split or joined."""
