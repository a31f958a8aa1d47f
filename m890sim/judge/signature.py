"""Whether a kernel has a task's signature: its parameters, what it stores, its dtypes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from m890sim.errors import TaskError
from m890sim.kernel.ir import (
    Const,
    Expr,
    HbmDecl,
    Instr,
    Kernel,
    Name,
    Op,
    Param,
    SourceLoc,
    TensorRef,
    TileDecl,
    walk,
)
from m890sim.messages import described
from m890sim.workloads import Task


def check_fits(kernel: Kernel, task: Task) -> None:
    """Refuse a kernel that is none for the task.

    Parameters other than tunables must be the task's, by name, kind, dimensions and dtype (any
    subset); every output must be stored and no input; dtypes must be allowed. Raises: TaskError
    with all findings, one a line; TypeError, LanguageError,
    LimitError for what is no kernel at all.
    """
    from m890sim.language import check_built

    if type(kernel) is not Kernel:
        raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")
    if not isinstance(task, Task):
        raise TypeError(f"task must be a Task, not {described(task)}")
    check_built(kernel)
    task.__post_init__()
    findings = list(_findings(kernel, task))
    if findings:
        lines = "\n".join(
            f"{kernel.filename}:{loc.line}:{loc.column}: {text}"
            if loc.line
            else f"{kernel.filename}: {text}"
            for loc, text in findings
        )
        raise TaskError(f"kernel {kernel.name!r} does not fit task {task.name!r}:\n{lines}")


def _findings(kernel: Kernel, task: Task) -> Iterator[tuple[SourceLoc, str]]:
    known = {param.name: param for param in task.params}
    for param in kernel.params:
        if param.kind == "tunable":
            continue
        if param.name not in known:
            near = difflib.get_close_matches(param.name, known, n=1)
            hint = f"did you mean {near[0]!r}? The" if near else "the"
            listed = ", ".join(describe(entry) for entry in task.params)
            yield (
                param.loc,
                f"{param.name!r} is no parameter of the task; {hint} task has {listed}",
            )
        elif describe(param) != describe(known[param.name]):
            expected = describe(known[param.name])
            yield (
                param.loc,
                f"found {describe(param)}; the task's parameter is {expected}, write it so",
            )
    stored = {
        stmt.operands[0].tensor: stmt.loc
        for stmt in walk(kernel.body)
        if isinstance(stmt, Instr)
        and stmt.op == "store"
        and isinstance(stmt.operands[0], TensorRef)
    }
    inputs = {param.name for param in task.params if param.kind == "tensor"} - set(task.outputs)
    for name, loc in stored.items():
        if name in inputs:
            yield (
                loc,
                f"the kernel stores {name!r}, an input of the task; "
                f"store to {_names(task.outputs)} only",
            )
    for name in task.outputs:
        if name not in stored:
            yield (
                SourceLoc(),
                f"the kernel never stores {name!r}, the task's output; store every row of it",
            )
    for stmt in walk(kernel.body):
        if isinstance(stmt, (TileDecl, HbmDecl)) and stmt.dtype not in task.allowed_dtypes:
            allowed = ", ".join(task.allowed_dtypes)
            yield stmt.loc, f"{stmt.name!r} is {stmt.dtype}; the task allows {allowed}"


def describe(param: Param) -> str:
    """A parameter as a kernel writes it: `q: Tensor["T", "HQ", "D"]`."""
    dims = ", ".join(
        _text(dim) if isinstance(dim, Const) else f'"{_text(dim)}"' for dim in param.dims
    )
    if param.kind == "tensor":
        dtype = "" if param.dtype == "bf16" else f", {param.dtype}"
        return f"{param.name}: Tensor[{dims}{dtype}]"
    if param.kind == "table":
        return f"{param.name}: Table[{dims}]"
    return f"{param.name}: {param.kind.capitalize()}"


def _text(dim: Expr) -> str:
    if isinstance(dim, Const):
        return str(dim.value)
    if isinstance(dim, Name):
        return dim.id
    if isinstance(dim, Op):
        return f" {dim.op} ".join(_text(arg) for arg in dim.args)
    return repr(dim)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)
