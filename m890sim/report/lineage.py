"""The lineage of a kernel: the steps from the start to it, each with what it gained when timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from typing import Any

from m890sim.agents.lines import edits_of
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.errors import M890Error
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.schedule import Edit
from m890sim.session import KernelSession

CONTEXT = 2  # lines around a change in a diff
Told = Callable[[int, int, str], None]  # (steps done, steps in all, what comes next)


@dataclass(frozen=True, slots=True)
class LineageStep:
    """One step of a lineage.

    what: the edit with its argument, or what else the step is. places: sites of the edits that it
    consists of, () for a text that was handed in. diff: unified, of the printed kernels.
    evaluation: the first one of this kernel in the log, None where it was not evaluated. speedup:
    over the reference, None where the kernel cannot be timed on every case; code, message: why.
    gain: speedup over that of the last kernel before that could be timed.
    """

    what: str
    places: tuple[str, ...]
    diff: str
    evaluation: int | None
    speedup: float | None
    gain: float | None
    cycles: dict[str, int | None]
    code: str = ""
    message: str = ""


def gain_text(gain: float) -> str:
    """A gain in per cent, with its sign where it is not nothing."""
    text = f"{100 * (gain - 1):+.1f}%"
    return "0.0%" if text in ("+0.0%", "-0.0%") else text


def lineage(
    plan: Plan, lines: Sequence[dict[str, Any]], index: int, told: Told | None = None
) -> list[LineageStep]:
    """The steps from the start kernel to that of an evaluation, the start as the first.

    Edits of one name and argument that follow each other are one step: mostly they were one move.
    Where kernels were handed in as texts, the steps are the evaluations that were faster than all
    before them. Everything is made and timed again.
    Raises: RunError where the log's kernel cannot be made, or is not as fast as the log says.
    """
    session = KernelSession(plan.task, plan.cases, plan.chip, start=plan.start, verify="never")
    known = {line["digest"]: line["index"] for line in reversed(lines)}
    steps: list[LineageStep] = []
    before, last = "", math.nan
    try:
        changes = list(_changes(session, lines, index))
        for number, (what, places, change) in enumerate(changes):
            if told is not None:
                told(number, len(changes), what)
            change()
            entry = session.evaluate()
            text = print_kernel(session.kernel)
            speedup = None if entry.failed else entry.speedup
            steps.append(
                LineageStep(
                    what,
                    places,
                    _diff(before, text) if steps else "",
                    known.get(entry.digest),
                    speedup,
                    None if speedup is None or not steps else speedup / last,
                    entry.cycles,
                    entry.code,
                    entry.message,
                )
            )
            before, last = text, last if speedup is None else speedup
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, M890Error) as error:
        raise RunError(
            f"evaluation {index}: its kernel cannot be made again: {error!s:.300}; "
            "m890 verify names the first difference"
        ) from error
    _compare(session, lines[index], steps[-1])
    return steps


def _changes(
    session: KernelSession, lines: Sequence[dict[str, Any]], index: int
) -> Iterator[tuple[str, tuple[str, ...], Callable[[], Any]]]:
    """What each step is, and what makes it."""
    yield f"start: {session.kernel.name}", (), lambda: None
    if "source" not in lines[index]:
        for key, group in groupby(edits_of(lines, index), key=lambda e: (e.name, e.argument)):
            edits = list(group)
            yield _named(*key), tuple(_site(one) for one in edits), _applied(session, edits)
        return
    for line in lines[1 : index + 1]:
        first = line["accepted"] and line["speedup"] == line["best_speedup"]
        faster = first and line["speedup"] > lines[line["index"] - 1]["best_speedup"]
        if faster or line["index"] == index:
            kernel = parse(line["source"], filename=f"<evaluation {line['index']}>")
            yield f"evaluation {line['index']}", (), _loaded(session, kernel)


def _applied(session: KernelSession, edits: Sequence[Edit]) -> Callable[[], Any]:
    return lambda: [session.apply(edit) for edit in edits]


def _loaded(session: KernelSession, kernel: Kernel) -> Callable[[], Any]:
    return lambda: session.load(kernel)


def _named(name: str, argument: Any) -> str:
    """An edit without its place."""
    if argument is None:
        return name
    parts = argument if isinstance(argument, tuple) else (argument,)
    return f"{name}({', '.join(map(str, parts))})"


def _site(edit: Edit) -> str:
    return ".".join(map(str, edit.site)) or "kernel"


def _diff(before: str, after: str) -> str:
    found = unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm="")
    return "\n".join(list(found)[2:])  # without the names of files


def _compare(session: KernelSession, line: dict[str, Any], step: LineageStep) -> None:
    """Raises: RunError where the last kernel is not the one that the log speaks of."""
    index = line["index"]
    if session.digest != line["digest"] or step.cycles != line["cycles"]:
        raise RunError(
            f"evaluation {index} is not what its edits give: the log says {line['cycles']!s:.120} "
            f"cycles, made again it takes {step.cycles!s:.120}; m890 verify names the first "
            "difference"
        )
