"""Mutation operators: wrong kernels made from right ones, to test a judge with.

wrong = OPERATORS["mask_late"].everywhere(load_kernel("attention_reference"))
"""

from m890sim.judge.mutation import results, seeing, softmax
from m890sim.judge.mutation.operators import Operator

OPERATORS: dict[str, Operator] = {
    row[0]: Operator(*row) for row in (*seeing.ROWS, *softmax.ROWS, *results.ROWS)
}

__all__ = ["OPERATORS", "Operator"]
