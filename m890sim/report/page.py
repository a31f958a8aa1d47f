"""The report of a run as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from m890sim.agents.clock import PARTS
from m890sim.agents.picture import PUBLISHED
from m890sim.drawing.page import page
from m890sim.profile import profile_kernel
from m890sim.profile.page import timeline_data
from m890sim.report.run import RunReport
from m890sim.schedule import Edit
from m890sim.session import edit_from_data
from m890sim.workloads import known_bound

SHOWN_EDITS = 6  # of what made one evaluation


def report_page(report: RunReport) -> str:
    """The page: curve, lineage with diffs, refusals, time, cases, the best kernel's timeline."""
    data = report.as_dict()
    for told, line in zip(data["log"], report.lines, strict=True):
        told["how"] = how(line)
        if line["correct"] is False:
            told["message"] = line["message"]
    title = f"{report.plan.agent} on {report.plan.task.name}"
    return page(
        "run",
        f"m890 report: {title}",
        data
        | {
            "published": PUBLISHED,
            "parts": PARTS,
            "by_case": _cases(report),
            "kernel": _kernel(report),
        },
    )


def how(line: dict[str, Any]) -> str:
    """How an evaluation's kernel was made, in one line; "" for the start itself."""
    if "profile" in line:
        return f"a profile, on {line['profile']['case']}, of a kernel that was evaluated before"
    if "source" in line:
        return "from a text that was handed in"
    try:
        edits = [edit_from_data(data) for data in line["edits"]]
    except ValueError:
        return "by edits that this version does not know"
    if not edits:
        return ""
    parent = "the start" if line["parent"] is None else f"evaluation {line['parent']}"
    return f"from {parent} by {_listed(edits)}"


def _listed(edits: Sequence[Edit]) -> str:
    more = len(edits) - SHOWN_EDITS
    text = ", ".join(map(str, edits[:SHOWN_EDITS]))
    return text + (f" and {more} more" if more > 0 else "")


def _cases(report: RunReport) -> list[dict[str, Any]]:
    """By case: cycles of the reference, of the best kernel, and the bound."""
    from m890sim.judge.evaluation import task_cycles

    plan = report.plan
    best = {} if report.best is None else report.lines[report.best]["cycles"]
    return [
        {
            "case": case.name,
            "reference": task_cycles(plan.task, case, plan.chip),
            "cycles": best.get(case.name),
            "bound": known_bound(case, plan.chip, plan.task.allowed_dtypes),
        }
        for case in plan.cases
    ]


def _kernel(report: RunReport) -> dict[str, Any] | None:
    """The timeline of the best kernel on the case that takes it longest, of its last core."""
    if report.kernel is None or report.best is None:
        return None
    cycles = report.lines[report.best]["cycles"]
    longest = max(report.plan.cases, key=lambda case: cycles[case.name])
    profile = profile_kernel(report.kernel, longest, report.plan.chip)
    data = timeline_data(profile)
    core = data["last_core"]
    return data | {
        "case": longest.name,
        "source": profile.source.splitlines(),
        "slices": [data["slices"][core]],
        "path": {0: data["path"].get(core, [])},
    }
