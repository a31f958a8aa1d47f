"""Train MaskablePPO to edit the kernels of a task, save the policy, and try it.

    python benchmarks/train_ppo.py [TASK] [--evaluations 1000] [--seed 0] [--out FILE.zip]

Prints the best speedup and the mean speedup of the last episodes as it goes. An evaluation is one
of a kernel that the run has not seen before. The saved policy is loaded again and edits the
reference kernel: once with the likeliest edit at every step, then by chance. It does the same for a
seed. Needs the extra `m890sim[train]`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from learning.extra import missing_extra

HORIZON = 30  # steps of an episode
LEVELS = ("vector_add", "row_softmax", "matmul", "attention_head")


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("task", nargs="?", default="vector_add", help=", ".join(LEVELS))
    parser.add_argument("--evaluations", type=int, default=1000, help="of different kernels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chip", default="m890")
    parser.add_argument("--out", type=Path, help="ppo-TASK.zip where left out")
    parser.add_argument("--tries", type=int, default=8, help="episodes by chance at the end")
    options = parser.parse_args()
    if options.evaluations < 1 or options.tries < 0 or options.seed < 0:
        parser.error("--evaluations must be at least 1, --tries and --seed at least 0")
    if options.out is None:
        options.out = Path(f"ppo-{options.task}.zip")
    if not options.out.resolve().parent.is_dir():
        parser.error(f"--out: there is no directory {options.out.parent}")
    return options


def main() -> int:
    """Train, save, load, try."""
    options = parse_options()
    console = Console(highlight=False)
    if message := missing_extra():
        console.print(f"train_ppo: {message}", markup=False, soft_wrap=True)
        return 2
    from m890sim.errors import M890Error

    try:
        return _train(options, console)
    except M890Error as error:
        console.print(f"train_ppo: {error}", markup=False, soft_wrap=True)
        return 2


def _train(options: argparse.Namespace, console: Console) -> int:
    from learning.ppo import Ledger, play, train
    from sb3_contrib import MaskablePPO

    from m890sim.session import Memory

    memory = Memory()
    begin = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("begins", total=options.evaluations)

        def told(ledger: Ledger) -> None:
            mean = mean_of(ledger.returns[-20:])
            text = f"best {ledger.best:.2f}x, mean of the last episodes {mean}"
            progress.update(bar, completed=ledger.spent, description=text)

        # All episodes begin with the reference: the policy has to find the whole way alone.
        model, ledger = train(
            options.task,
            options.evaluations,
            options.seed,
            told=told,
            chip=options.chip,
            memory=memory,
            horizon=HORIZON,
            restarts=0.0,
            n_steps=32,
        )
    model.save(options.out)
    episodes = ledger.returns
    tenth = max(1, len(episodes) // 10)
    console.print(
        f"{options.task}: best {ledger.best:.2f}x, found after {ledger.best_at} of {ledger.spent} "
        f"evaluations; {len(episodes)} episodes in {time.perf_counter() - begin:.0f} s"
    )
    if episodes:
        tenths = [mean_of(episodes[n : n + tenth]) for n in range(0, tenth * 10, tenth)]
        console.print(f"mean of the episodes, by tenths of the training: {' '.join(tenths)}")
    console.print(f"policy saved in {options.out}")
    loaded = MaskablePPO.load(options.out, device="cpu")
    for number in range(1 + options.tries):
        likeliest = number == 0
        session = play(
            loaded,
            options.task,
            chip=options.chip,
            memory=memory,
            horizon=HORIZON,
            likeliest=likeliest,
        )
        way = "the likeliest edits" if likeliest else f"by chance {number}"
        console.print(f"{way}: {session.best_speedup:.2f}x with {len(session.edits)} edits")
    return 0


def mean_of(returns: Sequence[float]) -> str:
    """The geometric mean of the speedups that episodes ended with; a return is a log2."""
    return f"{2 ** (sum(returns) / len(returns)):.2f}x" if returns else "-"


if __name__ == "__main__":
    raise SystemExit(main())
