"""The verifier of a Harbor task: `python -m m890_envs.adapters.harbor_reward RUN REWARD_FOLDER`."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from m890_envs.adapters.hosting import judged
from m890sim.agents.outcome import FINAL_ROWS
from m890sim.errors import M890Error
from m890sim.judge import judge_kernel
from m890sim.protocol import Recording


def rewards_of(run: Path) -> dict[str, float]:
    """Finite numbers about a session, `reward` first: log2 of the speedup on hidden cases.

    The judgement that the run directory keeps can be done again by anyone; the reward is of a
    second one, whose seed is drawn now. 0 where either finds the kernel wrong, or there is none.
    Raises: M890Error where the directory holds no session.
    """
    recording = Recording(run)
    try:
        found = judged(recording)
        session, plan = recording.session, recording.plan
        chosen, fresh = session.chosen, 1.0
        if chosen is not None and found["solved"]:
            judgement = judge_kernel(
                session.kernel(chosen.index),
                plan.task,
                plan.chip,
                hidden=plan.hidden,
                cases=plan.cases,
                rows=FINAL_ROWS,
                thorough=False,
            )
            if not judgement.refuted:
                hidden = judgement.hidden
                fresh = judgement.speedup if hidden is None else hidden.speedup
    finally:
        recording.close()
    numbers = {
        "reward": math.log2(fresh),
        **{
            name: found[name]
            for name in ("speedup", "hidden_speedup", "gap_closed", "right", "evaluations", "calls")
        },
    }
    return {name: float(value) for name, value in numbers.items() if value is not None}


def main() -> int:
    """Write reward.json. Exit status 1, and no reward, where there is no session to judge."""
    run, folder = map(Path, sys.argv[1:])
    try:
        text = json.dumps(rewards_of(run))
    except M890Error as error:
        print(f"m890: no reward: {error}", file=sys.stderr)
        return 1
    (folder / "reward.json").write_text(text + "\n", "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
