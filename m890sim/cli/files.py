"""`m890 fmt`, `kernels` and `tasks`: kernel files, and what they are written for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.cli.case_tables import case_rows, level_rows, more_rows, other_rows
from m890sim.cli.settings import add_set_option
from m890sim.cli.withheld import check_kernel
from m890sim.errors import M890Error, TaskError
from m890sim.messages import shown

if TYPE_CHECKING:
    from m890sim.chip import ChipSpec
    from m890sim.kernel.ir import Kernel
    from m890sim.workloads import Task

STDIN = "-"


def register(commands: Any) -> None:
    """Add the commands of this group."""
    fmt = commands.add_parser(
        "fmt",
        help="print kernels in their one canonical form",
        description="Print kernels in canonical form; comments stay.",
        epilog="Exit status: 0, with --check 1 where a file differs, 2 refused input.",
    )
    fmt.add_argument("kernel", nargs="+", metavar="KERNEL", help=options.KERNEL)
    add_set_option(fmt)
    how = fmt.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="write the files instead of printing")
    how.add_argument("--check", action="store_true", help="only say which files differ")
    fmt.set_defaults(handler=_fmt)

    kernels = commands.add_parser(
        "kernels", help="the built-in kernels", description="The built-in kernels by task and step."
    )
    kernels.add_argument("--json", action="store_true", help=options.JSON)
    kernels.set_defaults(handler=_kernels)

    tasks = commands.add_parser(
        "tasks", help="the tasks and their cases", description="The tasks and their cases."
    )
    tasks.add_argument("task", nargs="*", metavar="TASK", help="only these tasks (all by default)")
    tasks.add_argument("--json", action="store_true", help=options.JSON)
    tasks.set_defaults(handler=_tasks)


def load(name: str, chip: ChipSpec | str = "", settings: Sequence[str] = ()) -> Kernel:
    """The checked kernel of a file, of a built-in name, or of standard input (`-`).

    chip: a built-in kernel comes with the tunables that it has there. settings: of --set, which
    count more. Raises: TaskError for an unknown name, LanguageError or LimitError for a refused
    text, OSError.
    """
    from m890sim.cli.settings import with_settings
    from m890sim.workloads import load_kernel

    if name != STDIN:
        check_kernel(name)
        return with_settings(load_kernel(name, chip), settings)
    from m890sim.language import DEFAULT_LIMITS, parse

    if sys.stdin is None:
        raise TaskError("standard input is closed; give the path of a kernel file")
    text = sys.stdin.buffer.read(DEFAULT_LIMITS.source_bytes + 1)
    return with_settings(parse(text, filename="<stdin>"), settings)


def take_task(spec: str) -> None:
    """Register the task of `file.py:NAME`: a record finds it by its name. Raises: TaskError."""
    from m890sim.workloads import get_task, register_task

    register_task(get_task(spec))


def add_task_option(parser: argparse.ArgumentParser) -> None:
    """The option of commands that read records."""
    parser.add_argument(
        "--task",
        metavar="FILE:NAME",
        action="append",
        default=[],
        help="a task from outside that a record names; its file is imported; may be given again",
    )


def task_of(kernel: Kernel, name: str, task: str | None) -> tuple[Task, str]:
    """The task to run a kernel on, and a remark where it had to be guessed.

    The task that is named; else that of a built-in kernel; else the one whose parameters fit.
    Raises: TaskError where the parameters fit no task, or several.
    """
    from m890sim.workloads import KERNELS, TASKS, get_task
    from m890sim.workloads.more import MORE, more_task, task_of_kernel

    if task is not None:
        return get_task(task), ""
    if name in KERNELS:
        return get_task(KERNELS[name].task), ""
    further = task_of_kernel(name)
    if further is not None:
        return get_task(further), ""
    known = ", ".join((*TASKS, *MORE))
    used = {(p.name, p.kind, p.dims) for p in kernel.params if p.kind != "tunable"}

    def fit(candidates: Iterable[Task]) -> list[Task]:
        return [c for c in candidates if used <= {(p.name, p.kind, p.dims) for p in c.params}]

    fitting = fit(TASKS.values()) or fit(more_task(name) for name in MORE)
    if len(fitting) == 1:
        found = fitting[0]
        return found, f"task {found.name}, guessed from the kernel's parameters (--task says it)"
    if fitting:
        names = " and ".join(candidate.name for candidate in fitting)
        raise TaskError(f"the parameters of {kernel.name!r} fit {names}; choose with --task")
    raise TaskError(
        f"the parameters of {kernel.name!r} fit no task; the tasks are: {known} "
        f"(`m890 tasks` lists their parameters); choose with --task to see what differs"
    )


def _fmt(args: argparse.Namespace) -> int:
    from m890sim.kernel import print_kernel
    from m890sim.workloads import KERNELS

    differ = False
    for name in args.kernel:
        builtin = name in KERNELS
        if args.write and (builtin or name == STDIN):
            raise M890Error(
                f"--write needs a file; {name!r} is {'built in' if builtin else 'none'}"
            )
        text = print_kernel(load(name, settings=args.settings))
        if not (args.write or args.check):
            sys.stdout.write(text)
            continue
        present = KERNELS[name].text if builtin else "" if name == STDIN else _text_of(name)
        if present == text:
            continue
        differ = True
        print(f"{'rewritten' if args.write else 'differs'}: {name}")
        if args.write:
            Path(name).write_text(text, encoding="utf-8", newline="\n")
    return 1 if args.check and differ else 0


def _text_of(name: str) -> str:
    from m890sim.language import DEFAULT_LIMITS

    # Bytes, not text mode: "\r\n" is a difference that fmt mends.
    return read_text(Path(name), DEFAULT_LIMITS.source_bytes)


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes, line ends as they are.

    Raises: M890Error for more or for what is no UTF-8; OSError.
    """
    with open(path, "rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise M890Error(
            f"{shown(str(path), 200)} has more than {most:,} bytes; give a shorter file"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise M890Error(f"{shown(str(path), 200)} is no text in UTF-8") from error


def _kernels(args: argparse.Namespace) -> int:
    from m890sim.workloads import KERNELS
    from m890sim.workloads.more import MORE, more_task

    entries = list(KERNELS.values())
    further: list[dict[str, Any]] = [
        {
            "name": more_task(name).reference_name,
            "task": name,
            "step": None,
            "idea": "the reference of a further task",
        }
        for name in MORE
    ]
    if args.json:
        found = [
            {
                "name": entry.name,
                "task": entry.task,
                "step": entry.step if entry.ladder else None,
                "idea": entry.idea,
            }
            for entry in entries
        ]
        show.print_json({"kernels": [*found, *further]})
        return 0
    rows = [
        [entry.name, entry.task, str(entry.step) if entry.ladder else "", entry.idea]
        for entry in sorted(entries, key=lambda e: (e.task, e.ladder is None, e.step))
    ]
    rows += [[each["name"], each["task"], "", each["idea"]] for each in further]
    show.print_table(("kernel", "task", "step", "idea"), rows, text=("task",), wrap=("idea",))
    print("Text of one: m890 fmt NAME. All steps of a ladder with their cycles: m890 ladder.")
    return 0


def _tasks(args: argparse.Namespace) -> int:
    from m890sim.judge.signature import describe
    from m890sim.workloads import TASKS, get_task
    from m890sim.workloads.more import MORE

    named = args.task or ((*TASKS, *MORE) if args.json else TASKS)
    tasks = [get_task(name) for name in dict.fromkeys(named)]
    if args.json:
        show.print_json({"tasks": [_task_data(task) for task in tasks]})
        return 0
    for task in tasks:
        print(f"{task.name}: {task.text}")
        expert = f", expert {task.expert_name}" if task.expert_name else ""
        print(f"  reference {task.reference_name}{expert}")
        if task.gates or len(task.outputs) > 1:
            for output in task.outputs:
                print(f"  output {output}: {task.gate(output).text}")
        print("  a kernel may name these parameters, written so:")
        for param in task.params:
            print(f"    {describe(param)}")
    columns, rows = case_rows(tasks)
    if rows:
        show.print_table(columns, rows, text=("task", "page"), wrap=("what it is",))
        print("heads: query/key. d: elements a head. page: tokens a page of the cache.")
    columns, rows = level_rows(tasks)
    if rows:
        show.print_table(columns, rows, text=("task", "cores"), wrap=("shape", "what it is"))
        print("Levels: small tasks for a first hour and for fast training.")
    columns, rows = other_rows(tasks)
    if rows:
        show.print_table(columns, rows, text=("task", "cores"), wrap=("shape", "what it is"))
    if not args.task:
        columns, rows = more_rows()
        show.print_table(columns, rows, text=tuple(columns), wrap=tuple(columns[1:]))
        print("Further tasks; m890 tasks NAME lists the parameters and cases of one.")
    return 0


def _task_data(task: Task) -> dict[str, Any]:
    from m890sim.judge.signature import describe

    return {
        "name": task.name,
        "text": task.text,
        "params": [describe(p) for p in task.params],
        "outputs": list(task.outputs),
        "reference": task.reference_name,
        "expert": task.expert_name,
        "tolerance": task.tolerance,
        "gates": {
            output: {"gate": task.gate(output).gate, "limit": task.gate(output).limit}
            for output in task.outputs
        },
        "cases": [
            {"name": case.name, "symbols": dict(case.symbols), "text": case.text}
            for case in task.cases
        ],
    }
