"""LEVELS: small tasks for a first hour and for fast training; docs/levels.md describes them."""

from m890sim.workloads.levels.attention_head import ATTENTION_HEAD, AttentionHeadCase
from m890sim.workloads.levels.matmul import MATMUL, MatmulCase
from m890sim.workloads.levels.row_softmax import ROW_SOFTMAX, RowSoftmaxCase
from m890sim.workloads.levels.vector_add import VECTOR_ADD, VectorAddCase
from m890sim.workloads.task import Task

LEVELS: dict[str, Task] = {
    task.name: task for task in (VECTOR_ADD, ROW_SOFTMAX, MATMUL, ATTENTION_HEAD)
}

__all__ = ["LEVELS", "AttentionHeadCase", "MatmulCase", "RowSoftmaxCase", "VectorAddCase"]
