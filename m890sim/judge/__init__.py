"""The judge: is a kernel right on the cases of a task, and how fast is it."""

from m890sim.errors import BelowLowerBoundError
from m890sim.judge.coverage import Coverage
from m890sim.judge.evaluation import Progress, evaluate, reference_cycles
from m890sim.judge.gates import GateResult, check_rows, row_errors
from m890sim.judge.judgement import Gate, HiddenResult, Judgement, judge_kernel
from m890sim.judge.records import Basis, CaseResult, Check, Evaluation
from m890sim.judge.signature import check_fits

__all__ = [
    "Basis",
    "BelowLowerBoundError",
    "CaseResult",
    "Check",
    "Coverage",
    "Evaluation",
    "Gate",
    "GateResult",
    "HiddenResult",
    "Judgement",
    "Progress",
    "check_fits",
    "check_rows",
    "evaluate",
    "judge_kernel",
    "reference_cycles",
    "row_errors",
]
