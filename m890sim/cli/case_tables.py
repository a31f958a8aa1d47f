"""Tables of tasks and cases, for `m890 tasks` and the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m890sim.cli import show

if TYPE_CHECKING:
    from m890sim.workloads import Case, Task


def case_rows(tasks: list[Task] | None = None) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of attention cases: one row a case."""
    from m890sim.workloads import TASKS, AttentionCase

    rows = []
    for task in TASKS.values() if tasks is None else tasks:
        for case in task.cases:
            if not isinstance(case, AttentionCase):
                continue
            heads = f"{case.query_heads}/{case.key_heads}"
            pages = f"{case.page_tokens}{', shuffled' if case.shuffled else ''}"
            cells = [case.name, task.name, str(len(case.cached)), show.count(sum(case.cached))]
            cells += [show.count(sum(case.queries)), heads, str(case.head_elements), pages]
            rows.append([*cells, case.text])
    columns = ["case", "task", "sequences", "cached", "queries", "heads", "d", "page", "what it is"]
    return columns, rows


def level_rows(tasks: list[Task] | None = None) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of the levels' cases: one row a case."""
    from m890sim.workloads import LEVELS

    rows = [
        [case.name, task.name, _shape(case), str(case.cores or "all"), case.text]
        for task in LEVELS.values()
        if tasks is None or task in tasks
        for case in task.cases
    ]
    return ["case", "task", "shape", "cores", "what it is"], rows


def other_rows(tasks: list[Task]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of all other cases: one row a case."""
    from m890sim.workloads import LEVELS, AttentionCase

    rows = [
        [case.name, task.name, _shape(case), str(case.cores or "all"), case.text]
        for task in tasks
        for case in task.cases
        if not isinstance(case, AttentionCase) and LEVELS.get(task.name) != task
    ]
    return ["case", "task", "shape", "cores", "what it is"], rows


def more_rows(markdown: bool = False) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of the further tasks: one row a task."""
    from m890sim.workloads.more import MORE, more_task

    rows = [
        [f"`{name}`" if markdown else name, more_task(name).text.rstrip("."), _case_texts(name)]
        for name in MORE
    ]
    return ["task", "what it computes", "public cases"], rows


def _case_texts(name: str) -> str:
    from m890sim.workloads.more import more_task

    return "; ".join(case.text for case in more_task(name).cases)


def _shape(case: Case) -> str:
    return ", ".join(f"{name} = {value}" for name, value in case.symbols.items())
