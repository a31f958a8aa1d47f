"""compare_runs: runs of any agents in one table, by what they reached at equal evaluations.

The anytime score of a run is the best right speedup after so many evaluations. Rows are agents;
their numbers are interquartile means over runs with 95% bootstrap intervals (`intervals`). fast_p
is KernelBench's (Ouyang et al. 2025): the share of all runs whose kernel is right and more than p
times faster than the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import methodcaller
from pathlib import Path
from typing import Any

from m890sim.agents.picture import PUBLISHED
from m890sim.agents.reading import RunError
from m890sim.errors import M890Error
from m890sim.evidence.intervals import Interval, stratified_interval
from m890sim.evidence.leaderboard import cell
from m890sim.evidence.record import read_record
from m890sim.evidence.run_scores import BUDGETS, RunScore, find_runs, score_of
from m890sim.evidence.verification import verify_record
from m890sim.judge.evaluation import package_version
from m890sim.timing import TIMING_VERSION

FAST = (1, 2, 5, 10)  # p of fast_p
YARDSTICKS = (*PUBLISHED, 1.1)  # published for real hardware
EVERYTHING = "all"  # the table over all tasks and chips
DRAWN = "drawn chips"
Told = Callable[[int, int, str], None]  # (runs done, runs in all, what comes next)


@dataclass(frozen=True, slots=True)
class ComparedAgent:
    """One row: runs of one agent with one start, budget and documentation level.

    Each interval is of the runs that have the number: None where none has. judged: of the runs.
    solved: those of them with a right kernel. right, asked: evaluations, summed over the runs.
    fast: p -> share of all runs.
    """

    agent: str
    docs: str
    start: str
    start_digest: str
    evaluations: int
    runs: tuple[RunScore, ...]
    final: Interval
    at: dict[int, Interval | None]
    area: Interval | None
    gap_closed: Interval | None
    hidden: Interval | None
    hidden_gap: Interval | None
    right: int
    asked: int
    fast: dict[int, float]

    @property
    def judged(self) -> int:
        """Runs that ended with a final judgement."""
        return sum(run.judged for run in self.runs)

    @property
    def places(self) -> frozenset[tuple[Any, ...]]:
        """Tasks with their cases and chips that its runs are of."""
        return frozenset((run.task_digest, run.cases, run.chip_digest) for run in self.runs)

    @property
    def name(self) -> str:
        """The agent, with its level of documentation where it writes source."""
        return f"{self.agent} ({self.docs})" if self.docs else self.agent


@dataclass(frozen=True, slots=True)
class ComparedAgents:
    """One table: the agents of a task, its cases and a chip or family; or of everything."""

    task: str
    task_digest: str
    chip: str
    cases: tuple[str, ...]
    rows: tuple[ComparedAgent, ...]

    @property
    def title(self) -> str:
        """What it is about."""
        if self.task == EVERYTHING:
            return "All tasks and chips"
        return f"{self.task} on {self.chip}"

    @property
    def note(self) -> str:
        """Where its rows cannot be compared as they stand; empty where they can."""
        if len({row.places for row in self.rows}) > 1:
            return "Not all agents here ran on the same tasks and chips: compare with care."
        return ""


@dataclass(frozen=True, slots=True)
class RunComparison:
    """All tables, and what was not taken. verified: every run was worked out again."""

    tables: tuple[ComparedAgents, ...]
    verified: bool
    not_taken: tuple[tuple[str, str], ...] = field(default=())  # (path, why)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "m890sim": package_version(),
            "timing_version": TIMING_VERSION,
            "verified": self.verified,
            "tables": [
                {
                    "task": {"name": table.task, "digest": table.task_digest},
                    "chip": table.chip,
                    "cases": list(table.cases),
                    "note": table.note,
                    "rows": [_row(row) for row in table.rows],
                }
                for table in self.tables
            ],
            "not_taken": [{"path": path, "reason": why} for path, why in self.not_taken],
        }


def compare_runs(
    paths: Iterable[Path], *, verify: bool = False, told: Told | None = None
) -> RunComparison:
    """Read the runs of some directories and put them into tables; nothing is written.

    paths: run directories, folders of them, submissions. verify: work each run out again first, and
    take only what holds. Runs that cannot be read, or stand there twice, are listed as not taken.
    Raises: RunError where a path is not there or holds no run.
    """
    found = find_runs(paths)
    scores: dict[str, RunScore] = {}
    not_taken: list[tuple[str, str]] = []
    for number, path in enumerate(found):
        if told is not None:
            told(number, len(found), path.name)
        try:
            score = _scored(path, verify)
            twin = scores.get(score.chain)
            if twin is not None:
                raise RunError(f"it is the same run as {twin.path}")
        except M890Error as error:
            not_taken.append((str(path), str(error)))
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            not_taken.append((str(path), f"it cannot be read: {error!s:.300}"))
        except (MemoryError, RecursionError) as error:
            not_taken.append((str(path), f"it takes too much: {type(error).__name__}"))
        else:
            scores[score.chain] = score
    return RunComparison(_tables(list(scores.values())), verify, tuple(not_taken))


def strata_of(runs: Sequence[RunScore]) -> list[list[RunScore]]:
    """Runs by what a bootstrap keeps apart: task, cases and chip.

    A stratum of one run would not vary. Runs that are alone on their chip differ in the chip as in
    the seed: those of one task are one stratum, and those alone in their task another one.
    """
    places: dict[tuple[Any, ...], list[RunScore]] = {}
    for run in runs:
        places.setdefault((run.task_digest, run.cases, run.chip_digest), []).append(run)
    found = [members for members in places.values() if len(members) > 1]
    alone: dict[tuple[Any, ...], list[RunScore]] = {}
    for place, members in places.items():
        if len(members) == 1:
            alone.setdefault(place[:2], []).extend(members)
    found += [members for members in alone.values() if len(members) > 1]
    single = [run for members in alone.values() if len(members) == 1 for run in members]
    return [*found, single] if single else found


def interval_over(
    runs: Sequence[RunScore], of: Callable[[RunScore], float | None]
) -> Interval | None:
    """Interquartile mean of a number of runs with its interval; None where no run has it."""
    having = [run for run in runs if of(run) is not None]
    if not having:
        return None
    strata = [[float(of(run) or 0.0) for run in members] for members in strata_of(having)]
    return stratified_interval(strata)


def _scored(path: Path, verify: bool) -> RunScore:
    record = read_record(path)
    score = score_of(record, str(path))
    if not verify:
        return score
    found = verify_record(record)
    if found.difference is not None:
        raise RunError(f"not verified: {found.difference}")
    return replace(score, verified=True)


def _tables(scores: list[RunScore]) -> tuple[ComparedAgents, ...]:
    places: dict[tuple[Any, ...], list[RunScore]] = {}
    for run in scores:
        # Drawn chips are one kind of thing, by default another one for each seed.
        chip = DRAWN if run.drawn else run.chip
        place = (run.task, run.task_digest, run.cases, chip, "" if run.drawn else run.chip_digest)
        places.setdefault(place, []).append(run)
    found = []
    for (task, digest, cases, chip, _), runs in sorted(places.items(), key=lambda place: place[0]):
        found.append(ComparedAgents(task, digest, chip, cases, _rows(runs)))
    if len(found) > 1:
        found.append(ComparedAgents(EVERYTHING, "", EVERYTHING, (), _rows(scores)))
    return tuple(found)


def _rows(runs: Iterable[RunScore]) -> tuple[ComparedAgent, ...]:
    groups: dict[tuple[Any, ...], list[RunScore]] = {}
    for run in runs:
        start = (run.start, run.start_digest)
        groups.setdefault((run.agent, run.docs, *start, run.evaluations), []).append(run)
    rows = [_agent(key, members) for key, members in groups.items()]
    rows.sort(key=lambda row: (-row.final.value, row.agent, row.docs, row.evaluations))
    return tuple(rows)


def _agent(key: tuple[Any, ...], runs: list[RunScore]) -> ComparedAgent:
    runs.sort(key=lambda run: (run.task, run.chip, run.seed, run.path))
    final = interval_over(runs, lambda run: run.final)
    assert final is not None
    agent, docs, start, start_digest, evaluations = key
    return ComparedAgent(
        agent,
        docs,
        start,
        start_digest,
        evaluations,
        runs=tuple(runs),
        final=final,
        at={count: interval_over(runs, methodcaller("at", count)) for count in BUDGETS},
        area=interval_over(runs, lambda run: run.area),
        gap_closed=interval_over(runs, lambda run: run.gap_closed),
        hidden=interval_over(runs, lambda run: run.hidden),
        hidden_gap=interval_over(runs, lambda run: run.hidden_gap),
        right=sum(run.right for run in runs),
        asked=sum(run.asked for run in runs),
        fast={p: sum(run.fast(p) for run in runs) / len(runs) for p in FAST},
    )


def _row(row: ComparedAgent) -> dict[str, Any]:
    intervals = {
        name: _interval(getattr(row, name))
        for name in ("final", "area", "gap_closed", "hidden", "hidden_gap")
    }
    return {
        "agent": row.agent,
        "docs": row.docs,
        "start": {"name": row.start, "digest": row.start_digest},
        "evaluations": row.evaluations,
        "judged": row.judged,
        "places": len(row.places),
        **intervals,
        "at": {str(count): _interval(found) for count, found in row.at.items()},
        "right": row.right,
        "asked": row.asked,
        "fast": {str(p): share for p, share in row.fast.items()},
        "runs": [_run(run) for run in row.runs],
    }


def _run(run: RunScore) -> dict[str, Any]:
    steps = {name: [list(step) for step in getattr(run, name)] for name in ("curve", "by_calls")}
    found = asdict(run) | steps | {"cases": list(run.cases)}
    at = {str(count): run.at(count) for count in BUDGETS}
    return found | {"at": at, "area": run.area, "hidden_gap": run.hidden_gap}


def _interval(found: Interval | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def as_markdown(found: RunComparison, picture: str | None = None) -> str:
    """The tables for readers. picture: the name of the plot's file beside it."""
    how = (
        "Every run was worked out again from its start kernel."
        if found.verified
        else "NOT VERIFIED: the numbers are what the records say; `m890 compare-runs --verify` "
        "works them out."
    )
    lines = [
        "# Runs compared",
        "",
        f"{how} m890sim {package_version()}, timing version {TIMING_VERSION}; the chips are "
        "fictional. Interquartile means over runs, in brackets their 95% bootstrap intervals; docs/"
        "evidence.md says what the columns are.",
    ]
    if picture is not None:
        lines += ["", f"![Best right speedup over evaluations]({picture})"]
    for table in found.tables:
        lines += ["", f"## {cell(table.title)}", ""]
        if table.cases:
            lines += [f"Cases: {cell(', '.join(table.cases))}.", ""]
        lines += [_line(COLUMNS), _line(["---", *["---:"] * (len(COLUMNS) - 1)])]
        lines += [_line([cell(row.name), *cells(row)]) for row in table.rows]
        lines += ["", table.note] if table.note else []
    if found.not_taken:
        lines += ["", "## Not taken", "", "| path | reason |", "| --- | --- |"]
        lines += [_line([cell(path), cell(why)]) for path, why in found.not_taken]
    return "\n".join(lines) + "\n"


COLUMNS = (
    "agent",
    "budget",
    "runs",
    "speedup",
    *(f"at {count}" for count in BUDGETS),
    "area",
    "to bound",
    "hidden",
    "hidden/public",
    "right",
    "fast " + "/".join(map(str, FAST)),
)


def cells(row: ComparedAgent) -> list[str]:
    """A row's texts, from its budget on; "-" where there is no number."""
    runs = str(len(row.runs))
    if row.judged < len(row.runs):
        runs += f" ({row.judged} judged)"
    if len(row.places) > 1:
        runs += f" on {len(row.places)}"
    right = f"{row.right / row.asked:.0%} of {row.asked}" if row.asked else "-"
    return [
        str(row.evaluations),
        runs,
        _ratio(row.final),
        *(_ratio(found) for found in row.at.values()),
        _number(row.area, "{:.2f}"),
        _number(row.gap_closed, "{:.0%}"),
        _ratio(row.hidden),
        _number(row.hidden_gap, "{:.2f}"),
        right,
        "/".join(f"{100 * share:.0f}" for share in row.fast.values()) + "%",
    ]


def _ratio(found: Interval | None) -> str:
    return _number(found, "{:.2f}x")


def _number(found: Interval | None, form: str) -> str:
    if found is None:
        return "-"
    value = form.format(found.value)
    if found.runs == 1:
        return value
    low, high = (form.format(bound).rstrip("x") for bound in (found.low, found.high))
    return f"{value} ({low} to {high})"


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"
