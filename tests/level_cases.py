"""Cases of the levels that are small enough for loops in Python."""

from __future__ import annotations

from m890sim.workloads import Case
from m890sim.workloads.levels import (
    AttentionHeadCase,
    MatmulCase,
    RowSoftmaxCase,
    VectorAddCase,
)

# Blocks of one row, blocks in part, fewer rows than cores.
TINY_LEVELS: dict[str, Case] = {
    "vector_add": VectorAddCase("tiny-add", "vector_add", 37, 5),
    "row_softmax": RowSoftmaxCase("tiny-softmax", "row_softmax", 19, 70),
    "matmul": MatmulCase("tiny-matmul", "matmul", 70, 9, 65),
    "attention_head": AttentionHeadCase("tiny-head", "attention_head", 67, 4),
}
