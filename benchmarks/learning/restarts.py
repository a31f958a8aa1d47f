"""Random legal actions with restarts: what a policy has to beat, and what tells action sets apart.

Uniformly random among the legal actions but STOP. A walk has 1 to HORIZON steps, evaluated at each;
it begins with the reference kernel or, in RESTARTS of the cases, with one of the last kernels that
were the best so far. The rule is the same for single edits and for macros.
"""

from __future__ import annotations

import contextlib
import random

from learning.ledger import Accountant, BudgetSpent, Ledger

from m890_envs import KernelEditEnv
from m890sim.session import Memory

HORIZON = 10
RESTARTS = 0.5


def wander(
    task: str, actions: str, evaluations: int, seed: int, *, chip: str, memory: Memory | None
) -> Ledger:
    """What random actions find with so many evaluations; actions: "single" or "macro"."""
    ledger = Ledger(evaluations)
    env = Accountant(
        # Single edits of kernels of any length are wanted, and nothing is observed.
        KernelEditEnv(
            task,
            chip=chip,
            actions=actions,
            observation="graph" if actions == "single" else None,
            horizon=None,
            memory=memory,
        ),
        ledger,
        RESTARTS,
        seed,
    )
    dice = random.Random(seed)
    with contextlib.suppress(BudgetSpent):
        while True:
            _, info = env.reset()
            for _ in range(dice.randint(1, HORIZON)):
                legal = info["action_mask"].nonzero()[0][1:]  # all but STOP
                if not len(legal):
                    break
                info = env.step(int(dice.choice(legal)))[4]
    return ledger
