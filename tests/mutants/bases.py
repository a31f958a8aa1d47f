"""Right kernels that mutants are made from, and small cases on which most mutants show."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from m890sim.kernel.ir import Kernel
from m890sim.session import KernelSession
from m890sim.session.script import run_script
from m890sim.workloads import KERNELS, AttentionCase, Case, load_kernel
from m890sim.workloads.levels.attention_head import AttentionHeadCase
from m890sim.workloads.levels.matmul import MatmulCase
from m890sim.workloads.levels.row_softmax import RowSoftmaxCase
from m890sim.workloads.levels.vector_add import VectorAddCase

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "scripts"


@cache
def base(name: str) -> Kernel:
    """A built-in kernel, or the one that `docs/scripts/TASK.txt` leaves (`script:TASK`)."""
    kind, _, task = name.partition(":")
    if kind == "script":
        session = KernelSession(task)
        run_script(session, (SCRIPTS / f"{task}.txt").read_text(encoding="utf-8"))
        return session.kernel
    return load_kernel(name)


def task_of(name: str) -> str:
    """The task of a base."""
    kind, _, task = name.partition(":")
    return task if kind == "script" else KERNELS[name].task


# Heads, sequences and tails that differ from one another wherever a kernel could confuse them.
SMALL: dict[str, tuple[Case, ...]] = {
    "extend": (
        AttentionCase("mutants-64", "extend", (200, 0, 5), (150, 65, 1), 4, 2, 64, 4, True),
        AttentionCase("mutants-128", "extend", (300, 80), (40, 130), 8, 2, 128, 16, True),
    ),
    "decode": (
        AttentionCase("mutants-decode", "decode", (200, 1, 64, 131), (1,) * 4, 8, 2, 64, 4, True),
        AttentionCase(
            "mutants-decode-long", "decode", (300, 7, 2500, 1100), (1,) * 4, 8, 2, 128, 16, True
        ),
    ),
    "attention_head": (AttentionHeadCase("mutants-head", "attention_head", 150, 64),),
    "matmul": (MatmulCase("mutants-matmul", "matmul", 130, 70, 300),),
    "row_softmax": (RowSoftmaxCase("mutants-softmax", "row_softmax", 37, 130),),
    "vector_add": (VectorAddCase("mutants-add", "vector_add", 70, 40),),
}
