"""What every edit does to many kernels, written down and compared: a change of the edits' code
that should change no answer is held against what the code before it said.

    python benchmarks/replay_edits.py write FILE [--kernels 5000] [--seed 0]
    python benchmarks/replay_edits.py compare FILE [--every N]

`write` walks: from every built-in kernel, and from kernels made by the tests' generator, by random
legal edits. Of each kernel it keeps all legal edits in their order, what a sample of them gives,
and a sample of candidates that are refused. `compare` asks the same again, of every N-th walk, and
names what differs. It exits with 1 if anything does.
"""

from __future__ import annotations

import argparse
import gzip
import pickle
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from m890sim import schedule
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel, walk
from m890sim.schedule import Context, Edit, EditError
from m890sim.session import context_of
from m890sim.workloads import KERNELS, TASKS, load_kernel
from tests.generators import random_program

STEPS = 12  # kernels of a walk
MOST_STATEMENTS = 170  # of a kernel that a walk goes on from
SAMPLE, REFUSED = 24, 8  # results and refusals that are kept of a kernel
SHOWN = 20  # differences that are printed


Plain = tuple[Any, ...]  # an Edit as a plain tuple: wherever its class will be, this can be read


@dataclass
class Answer:
    """What the edits say of one kernel."""

    kernel: Kernel
    legal: list[Plain]
    results: list[tuple[Plain, str]]  # an edit, and the printed kernel that it gives
    refused: list[Plain]


@dataclass
class Walk:
    """Kernels, each but the first one legal edit away from the one before it."""

    start: str
    context: dict[str, Any]
    answers: list[Answer] = field(default_factory=list)


def starts(generated: int) -> Iterator[tuple[str, Kernel, Context]]:
    """Built-in kernels with the context of their task, and generated ones."""
    for task in TASKS:
        for name in KERNELS:
            if KERNELS[name].task == task:
                yield name, load_kernel(name), context_of(task)
    for seed in range(generated):
        yield f"generated {seed}", random_program(seed).kernel, Context()


def walk_from(start: str, kernel: Kernel, context: Context, seed: int) -> Walk:
    """A walk by random edits."""
    rng = random.Random(f"{seed} {start}")
    found = Walk(start, {field.name: getattr(context, field.name) for field in fields(context)})
    for _ in range(STEPS):
        legal = schedule.legal_edits(kernel, context)
        chosen = rng.sample(legal, min(SAMPLE, len(legal)))
        results = [(edit, schedule.rewrite(kernel, edit, context)) for edit in chosen]
        known = set(legal)
        others = [edit for edit in schedule.candidates(kernel, context) if edit not in known]
        refused = rng.sample(others, min(REFUSED, len(others)))
        kept = [(edit, print_kernel(result)) for edit, result in results]
        found.answers.append(Answer(kernel, [*map(tuple, legal)], kept, [*map(tuple, refused)]))
        # By name first: edits that are legal at few places are taken as often as the others.
        by_name: dict[str, list[Kernel]] = {}
        for edit, result in results:
            if sum(1 for _ in walk(result.body)) <= MOST_STATEMENTS:
                by_name.setdefault(edit.name, []).append(result)
        if not by_name:
            break
        kernel = rng.choice(by_name[rng.choice(sorted(by_name))])
    return found


def write(path: Path, kernels: int, seed: int) -> None:
    """Walk until there are so many kernels, and keep what was found."""
    walks: list[Walk] = []
    count, turn = 0, 0
    named: Counter[str] = Counter()
    while count < kernels:
        for start, kernel, context in starts(40 * (turn + 1)):
            if start.startswith("generated") and int(start.split()[1]) < 40 * turn:
                continue
            found = walk_from(start, kernel, context, seed + turn)
            walks.append(found)
            count += len(found.answers)
            named.update(edit[0] for answer in found.answers for edit in answer.legal)
            if count >= kernels:
                break
        turn += 1
    with gzip.open(path, "wb", compresslevel=4) as file:
        pickle.dump(walks, file)
    legal = sum(len(answer.legal) for found in walks for answer in found.answers)
    print(f"{count} kernels in {len(walks)} walks, {legal} legal edits")
    never = [name for name in schedule.EDITS if not named[name]]
    print(f"never legal: {', '.join(never) or 'none'}")


def differences(found: Walk, gone: Counter[str], come: Counter[str]) -> Iterator[str]:
    """What the code at hand says otherwise about a walk's kernels."""
    context = Context(**found.context)
    for step, answer in enumerate(found.answers):
        here = f"{found.start}, step {step}"
        legal = schedule.legal_edits(answer.kernel, context)
        if legal != answer.legal:
            expected_edits = [Edit(*edit) for edit in answer.legal]
            before, after = set(expected_edits), set(legal)
            for edit in expected_edits:
                if edit not in after:
                    gone[edit.name] += 1
                    yield f"{here}: refuses {edit}"
            for edit in legal:
                if edit not in before:
                    come[edit.name] += 1
                    yield f"{here}: allows {edit}"
            if before == after:
                yield f"{here}: another order"
        for plain, expected in answer.results:
            edit = Edit(*plain)
            try:
                actual = print_kernel(schedule.rewrite(answer.kernel, edit, context))
            except EditError as error:
                yield f"{here}: {edit}: {error}"
                continue
            if actual != expected:
                yield f"{here}: another result of {edit}"
        for plain in answer.refused:
            try:
                schedule.rewrite(answer.kernel, Edit(*plain), context)
            except EditError:
                continue
            yield f"{here}: rewrites {Edit(*plain)}"


def compare(path: Path, every: int) -> int:
    """How many answers differ; the first ones are printed."""
    with gzip.open(path, "rb") as file:
        walks: list[Walk] = pickle.load(file)
    gone: Counter[str] = Counter()
    come: Counter[str] = Counter()
    begin, count, kernels = time.process_time(), 0, 0
    for found in walks[::every]:
        kernels += len(found.answers)
        for text in differences(found, gone, come):
            count += 1
            if count <= SHOWN:
                print(text)
    for word, counts in (("refused now", gone), ("allowed now", come)):
        if counts:
            print(word + ": " + ", ".join(f"{n} {name}" for name, n in counts.most_common()))
    print(f"{kernels} kernels, {count} differences, {time.process_time() - begin:.0f} s")
    return count


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("--kernels", type=int, default=5000)
    writing.add_argument("--seed", type=int, default=0)
    comparing = commands.add_parser("compare")
    comparing.add_argument("--every", type=int, default=1)
    for command in (writing, comparing):
        command.add_argument("file", type=Path)
    options = parser.parse_args()
    if options.command == "write":
        write(options.file, options.kernels, options.seed)
        return 0
    return 1 if compare(options.file, options.every) else 0


if __name__ == "__main__":
    sys.exit(main())
