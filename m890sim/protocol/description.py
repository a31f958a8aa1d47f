"""What a session tells of its task: what to compute, shapes, budgets; and how to begin."""

from __future__ import annotations

from typing import Any

from m890sim.agents.plan import Plan
from m890sim.judge.signature import describe
from m890sim.protocol.documents import pages_of
from m890sim.protocol.tools import tools_of
from m890sim.workloads import Case, Task
from m890sim.workloads.task import tensor_shapes


def instructions(plan: Plan) -> str:
    """The first message to a model: its aim, the rules, the tools."""
    terms = plan.terms
    assert terms is not None
    lines = [
        "You make a kernel faster on an accelerator that you have not seen before.",
        "A kernel is one Python-like text in a small tile language, which is read and never "
        "executed as Python. You have a reference kernel; write a faster one that is right.",
        f"The score is the geometric mean over the public cases of the reference's cycles over "
        f"your kernel's. You have {plan.evaluations} evaluations and {terms.calls} calls of tools.",
        "A kernel is checked on inputs of many distributions, and at the end on hidden cases with "
        "other shapes; a wrong one counts 1.0x.",
        f"Documentation: {_documentation(terms.docs)}",
        "Tools:",
        *(f"- {tool.name}: {tool.text}" for tool in tools_of(terms).values()),
        "Begin with read_task and read_reference. End with submit.",
    ]
    return "\n".join(lines) + "\n"


def _documentation(level: str) -> str:
    pages = pages_of(level)
    if not pages:
        return "none but the reference's source, and what errors say."
    return f"read_docs has the pages {', '.join(pages)}."


def task_data(plan: Plan, reference_cycles: tuple[int, ...]) -> dict[str, Any]:
    """The answer of read_task as plain data."""
    task, terms = plan.task, plan.terms
    assert terms is not None
    return {
        "task": task.name,
        "text": task.text,
        "parameters": [describe(each) for each in task.params],
        "outputs": list(task.outputs),
        "tolerance": float(task.tolerance),
        "dtypes": list(task.allowed_dtypes),
        "cases": [
            _case(task, case, cycles)
            for case, cycles in zip(plan.cases, reference_cycles, strict=True)
        ],
        "evaluations": plan.evaluations,
        "calls": terms.calls,
        "seconds": terms.seconds or None,
        "source_characters": terms.source,
        "patience": terms.patience or None,
        "docs": terms.docs,
    }


def task_text(data: dict[str, Any]) -> str:
    """The same for reading."""
    lines = [
        f"Task {data['task']}: {data['text']}",
        "",
        "A kernel may name these parameters, written so:",
        *(f"    {each}" for each in data["parameters"]),
        f"It must store {', '.join(data['outputs'])}. Largest relative L2 error of a row: "
        f"{data['tolerance']:g}. Dtypes of tiles: {', '.join(data['dtypes'])}.",
        "",
        "Public cases:",
    ]
    for case in data["cases"]:
        symbols = ", ".join(f"{name}={value}" for name, value in case["symbols"].items())
        lines.append(f"    {case['case']}: {symbols}")
        shapes = ", ".join(f"{name} {tuple(shape)}" for name, shape in case["shapes"].items())
        lines.append(f"        tensors: {shapes}")
        for name, values in case["tables"].items():
            lines.append(f"        table {name}: {values}")
        lines.append(f"        the reference takes {case['reference_cycles']:,} cycles")
    lines += [
        "",
        "Score: the geometric mean over these cases of the reference's cycles over the kernel's; "
        "a kernel that is wrong anywhere counts 1.0x.",
        f"Budgets: {data['evaluations']} evaluations, {data['calls']} calls"
        + (f", {data['seconds']} seconds" if data["seconds"] else "")
        + f", {data['source_characters']:,} characters a source.",
    ]
    if data["patience"]:
        lines.append(
            f"{data['patience']} evaluations without a gain of more than 1% end the session."
        )
    return "\n".join(lines)


def _case(task: Task, case: Case, cycles: int) -> dict[str, Any]:
    return {
        "case": case.name,
        "symbols": {name: int(value) for name, value in case.symbols.items()},
        "shapes": {name: list(shape) for name, shape in tensor_shapes(task, case).items()},
        "tables": {name: _table(values) for name, values in case.tables.items()},
        "reference_cycles": cycles,
    }


def _table(values: Any) -> str:
    """A table in a few words: its length, its first numbers, its last."""
    numbers = [int(value) for value in values[:9]]
    text = ", ".join(map(str, numbers))
    more = len(values) - len(numbers)
    return f"{text}, ... ({len(values)} numbers)" if more > 0 else text
