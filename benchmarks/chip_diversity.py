"""How unlike the chips of the families are: what wins on one of them, seen on the others.

    python benchmarks/chip_diversity.py [--task extend] [--chips 4] [--evaluations 150]

On m890 and on the first chips of every family (split test) it measures the task's expert, its
script of docs/scripts, the best kernel that the default agent finds on m890, what that agent finds
on the chip itself, and what each macro action earns: from the reference, and after the eight
actions that the best kernel of m890 has most often. Chips are appended to the file of JSON lines as
they are done, and those that it has are not done again; `--no-runs` writes the page from those that
there are. `extend` takes about two minutes of processor time a chip.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from m890sim.agents import AGENTS, run_agent
from m890sim.agents.plan import gate_settings
from m890sim.agents.registry import DEFAULT_AGENT
from m890sim.chip import FAMILIES, get_chip
from m890sim.digests import digest_of
from m890sim.errors import M890Error
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.schedule import EDITS, EditError
from m890sim.schedule.macros import MACROS, MacroActions
from m890sim.session import KernelSession, Memory, run_script
from m890sim.session.edits import context_of
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import Task, get_task

ROOT = Path(__file__).resolve().parents[1]
HOME = "m890"  # the chip whose kernels are tried on all others
SPLIT = "test"
COMMON = 8  # actions that are made before moves are ranked again
SEED = 0
COLUMNS = 120

Row = dict[str, Any]


def setting_of(task: Task, evaluations: int) -> str:
    """Digest of what a row hangs on beside its chip."""
    parts = [TIMING_VERSION, task.digest, list(EDITS), len(MACROS), evaluations, DEFAULT_AGENT]
    return digest_of(parts)[:12]


def measure(task_name: str, chip_name: str, evaluations: int, home: Row | None) -> Row:
    """The row of a chip; `home`, that of m890, is None where the chip is m890."""
    begin = time.process_time()
    task, chip = get_task(task_name), get_chip(chip_name)
    memory = Memory()
    timing = KernelSession(task, chip=chip, verify="never", memory=memory)
    first = timing.evaluate()
    search = KernelSession(task, chip=chip, budget=evaluations, **gate_settings(), memory=memory)
    run_agent(AGENTS[DEFAULT_AGENT], search, SEED)
    row: Row = {
        "task": task.name,
        "chip": chip.name,
        "digest": chip.digest,
        "setting": setting_of(task, evaluations),
        "evaluations": evaluations,
        "bound": bound_of(timing),
        "agent": round(search.best_speedup, 6),
        "expert": None if not task.expert_name else speedup_of(timing, task.expert),
        "script": script_speedup(timing, task),
    }
    if home is None:
        row["kernel"] = print_kernel(search.best_kernel or task.reference_on(chip))
        row["common"] = common_actions(search)
    home = home or row
    row["home"] = speedup_of(timing, parse(home["kernel"], filename="<best of m890>"))
    row["moves"] = moves_from(timing, ())
    row["later"] = moves_from(timing, home["common"])
    row["seconds"] = round(time.process_time() - begin, 1)
    assert first.speedup == 1.0
    return row


def speedup_of(session: KernelSession, kernel: Kernel) -> float | None:
    """Over the reference, where the kernel fits the chip on every case."""
    try:
        session.load(kernel)
    except M890Error:
        return None
    entry = session.evaluate()
    return None if entry.failed else round(entry.speedup, 6)


def script_speedup(session: KernelSession, task: Task) -> float | None:
    """Of the task's script; None where there is none, or one of its lines fits nowhere."""
    path = ROOT / "docs" / "scripts" / f"{task.name}.txt"
    if not path.exists():
        return None
    session.load(task.start_on(session.chip))
    try:
        run_script(session, path.read_text("utf-8"))
    except M890Error:
        return None
    entry = session.evaluate()
    return None if entry.failed else round(entry.speedup, 6)


def bound_of(session: KernelSession) -> float:
    """Geometric mean over the cases of reference cycles over lower bound."""
    logs = [
        math.log(case["reference_cycles"] / case["lower_bound_cycles"])
        for case in session.report()["cases"]
        if case["lower_bound_cycles"]
    ]
    return round(math.exp(math.fsum(logs) / max(1, len(logs))), 6)


def common_actions(session: KernelSession) -> list[int]:
    """The macro actions of the edits that lead to the best kernel, the most often one first."""
    macros = MacroActions(context_of(session.task, session.chip))
    best = session.best
    counted: Counter[int] = Counter()
    session.load(session.task.start_on(session.chip))
    for edit in best.edits if best is not None else ():
        counted.update(list(macros.by_id(session.kernel, (edit,)))[:1])
        session.apply(edit)
    return [action for action, _ in counted.most_common(COMMON)]


def moves_from(session: KernelSession, before: Iterable[int]) -> dict[str, float]:
    """Macro -> log2 of what it earns, of all that are legal when some macros have been made."""
    session.load(session.task.start_on(session.chip))
    for action in before:
        try:
            session.perform(action)
        except EditError:  # nothing to do here
            continue
    kernel = session.kernel
    base = session.evaluate()
    if base.failed:
        return {}
    macros = MacroActions(context_of(session.task, session.chip))
    found = {}
    for action in macros.legal(kernel):
        session.load(kernel)
        session.perform(action)
        entry = session.evaluate()
        if not entry.failed:
            found[str(MACROS[action - 1])] = round(math.log2(entry.speedup / base.speedup), 6)
    return found


def rank_correlation(a: dict[str, float], b: dict[str, float]) -> float | None:
    """Spearman's, over the moves that both have; None where one side has no two values."""
    names = sorted(a.keys() & b.keys())
    ranks = [mean_ranks([side[name] for name in names]) for side in (a, b)]
    if len(names) < 3 or any(np.ptp(side) == 0 for side in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def mean_ranks(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Ranks from 0; equal values share the mean of theirs."""
    array = np.asarray(values)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    return np.asarray(below + (equal - 1) / 2, dtype=np.float64)


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, none where there is no file; a last line that was cut off is dropped."""
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def append_row(path: Path, row: Row) -> None:
    """Add a row; a last line that was cut off goes."""
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(data[: data.rfind(b"\n") + 1])
    with path.open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(json.dumps(row) + "\n")


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers; NaN of none."""
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def fitting(rows: Sequence[Row], key: str) -> str:
    """On how many chips a kernel fits, and its mean speedup there."""
    values = [row[key] for row in rows if row[key] is not None]
    mean = f", {geometric_mean(values):.2f}x" if values else ""
    return f"{len(values)} of {len(rows)}{mean}"


def correlations(pairs: Iterable[tuple[Row, Row]], key: str) -> str:
    """The mean rank correlation of moves over pairs of chips."""
    found = [rank_correlation(a[key], b[key]) for a, b in pairs]
    known = [value for value in found if value is not None]
    return f"{math.fsum(known) / len(known):.2f}" if known else "-"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the table: m890, then a family each."""
    columns = (
        "chips", "expert fits", "script fits", "m890's best fits", "... and wins", "agent",
        "agent's range", "bound", "moves", "... later", "moves of m890", "... later",
    )  # fmt: skip
    yield f"| {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * (len(columns) - 1)}"
    home = next(row for row in rows if row["chip"] == HOME)
    for name in (HOME, *FAMILIES):
        own = [row for row in rows if row["chip"].partition(":")[0] == name]
        if not own:
            continue
        pairs = list(combinations(own, 2))
        with_home = [(home, row) for row in own if row is not home]
        agents = [row["agent"] for row in own]
        cells = [
            f"`{name}`",
            *(fitting(own, key) for key in ("expert", "script", "home")),
            f"{sum((row['home'] or 0) > row['agent'] for row in own)} of {len(own)}",
            f"{geometric_mean(agents):.2f}x",
            f"{min(agents):.2f}x to {max(agents):.2f}x",
            f"{geometric_mean(row['bound'] for row in own):.2f}x",
            *(correlations(both, key) for both in (pairs, with_home) for key in ("moves", "later")),
        ]
        yield f"| {' | '.join(cells)} |"


def page(rows: Sequence[Row], command: str) -> str:
    """The document."""
    import textwrap

    first = rows[0]
    task, count = first["task"], len(rows) - 1
    own = next(row for row in rows if row["chip"] == HOME)
    made = ", ".join(f"`{MACROS[action - 1]}`" for action in own["common"])
    paragraphs = (
        f"What one chip's kernels are worth on another, measured on task `{task}`: {count} drawn "
        f"chips of split {SPLIT}, timing version {TIMING_VERSION}. All chips are fictional. "
        "[chips.md](chips.md) says what the families are. Made by:",
        f"    {command}",
        f"*Agent*: the default agent `{DEFAULT_AGENT}`, {first['evaluations']} evaluations on the "
        "chip itself, seed 0. Speedups are geometric means over the task's cases, then over chips, "
        "over the reference as it fits the chip. *Fits*: on so many chips a kernel can be timed on "
        "every case, and its mean speedup there; *script*: every line of the task's script finds a "
        "place. *m890's best*: what the agent finds on m890; it *wins* where it beats what the "
        "agent finds on the chip. *Bound*: the speedup that no kernel can exceed.",
        "*Moves*: Spearman's rank correlation of what each macro action earns from the reference, "
        "the mean over pairs of chips of the family; *of m890*: with that chip. *Later*: after "
        f"{COMMON} actions that m890's best kernel has most often, made everywhere: {made}.",
    )
    text = "# How unlike the drawn chips are\n\n"
    for paragraph in paragraphs:
        kept = paragraph.startswith("    ")
        text += f"{paragraph if kept else textwrap.fill(paragraph, COLUMNS)}\n\n"
    return text + "\n".join(table(rows)) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, and write the page."""
    options = parsed(arguments)
    task = get_task(options.task)
    setting = setting_of(task, options.evaluations)
    names = [HOME, *(f"{f}:{SPLIT}:{n}" for f in options.families for n in range(options.chips))]
    known = {row["chip"]: row for row in read_rows(options.rows) if row["setting"] == setting}
    print(f"{sum(name in known for name in names)} of {len(names)} chips are in {options.rows}")
    missing = [name for name in names if name not in known] if not options.no_runs else []

    def keep(row: Row) -> None:
        append_row(options.rows, row)
        known[row["chip"]] = row
        print(f"{row['chip']}: agent {row['agent']:.2f}x, {row['seconds']:.0f} s", flush=True)

    if HOME in missing:
        missing.remove(HOME)
        keep(measure(task.name, HOME, options.evaluations, None))
    if missing:
        home = known[HOME]
        with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
            jobs = [
                pool.submit(measure, task.name, name, options.evaluations, home) for name in missing
            ]
            for job in jobs:
                keep(job.result())
    rows = [known[name] for name in names if name in known]
    if HOME not in known or len(rows) < 2:
        print("no page without m890 and a drawn chip")
        return 1
    command = f"python benchmarks/chip_diversity.py --task {task.name} --chips {options.chips}"
    command += f" --evaluations {options.evaluations}"
    options.page.write_text(page(rows, command), encoding="utf-8", newline="\n")
    print(f"wrote {options.page}")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", default="extend", help="a task's name")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--chips", type=int, default=4, help="of each family")
    parser.add_argument("--evaluations", type=int, default=150, help="of the agent, on each chip")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "chip_diversity.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "chip_diversity.md")
    parser.add_argument("--no-runs", action="store_true", help="write the page from what is there")
    found = parser.parse_args(arguments)
    for name, most in (("chips", 1000), ("evaluations", 100_000), ("processes", 1024)):
        if not 1 <= getattr(found, name) <= most:
            parser.error(f"--{name} must be 1 ... {most:,}, not {getattr(found, name)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
