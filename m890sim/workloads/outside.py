"""Tasks from outside of the package: registered, of installed packages, or of a file.

A task is its author's own code and is imported as any Python module is: trusted, unlike kernels.
Names that come from records never lead to a file.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from m890sim.errors import M890Error, TaskError
from m890sim.messages import described, shown
from m890sim.workloads.more import MORE
from m890sim.workloads.own.case import OwnCase
from m890sim.workloads.own.code import code_of, text_digest
from m890sim.workloads.own.definition import ORIGINS, said
from m890sim.workloads.task import Task

GROUP = "m890sim.tasks"
MOST_BYTES = 2**20  # of a task file

_registered: dict[str, Task] = {}
_files: dict[tuple[str, str], ModuleType] = {}  # (path, digest of the text)
_tasks: dict[tuple[str, str, str], Task] = {}  # (path, digest of the text, name)
_entries: dict[tuple[str, str], Task] = {}  # (name, value of the entry point)


def register_task(task: Task, *, replace_known: bool = False) -> Task:
    """Let every function and command of this process take a task by its name.

    replace_known: also where another task of that name was registered. Returns the task as it is
    registered: with the digest of the files that its cases and hidden cases come from.
    Raises: TypeError for what is no Task; ValueError for one that cannot be; TaskError for the name
    of a built-in or of another registered task; LanguageError for a reference that is refused.
    """
    from m890sim.workloads.tasks import TASKS, get_task

    if not isinstance(task, Task):
        raise TypeError(f"task must be a Task, as define_task gives it, not {described(task)}")
    task.__post_init__()
    if task.name in (*TASKS, *MORE):
        if task == get_task(task.name):
            return task
        raise TaskError(f"{task.name!r} is the name of a built-in task; give yours another name")
    own = _with_code(task)
    known = _registered.get(task.name)
    if known is not None and not replace_known and known.digest != own.digest:
        raise TaskError(
            f"two tasks are called {task.name!r}: another one was registered before; give one of "
            "them another name, or register it with replace_known=True"
        )
    if known is None or known.digest != own.digest:
        _registered[task.name] = own
    return _registered[task.name]


def registered() -> dict[str, Task]:
    """The registered tasks by name."""
    return dict(_registered)


def entry_names() -> list[str]:
    """Names of the tasks of installed packages; none is loaded."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def is_file(name: str) -> bool:
    """Whether a task's name stands for a file."""
    return name.endswith(".py") or ".py:" in name


def task_of_name(name: str) -> Task | None:
    """The registered task of that name, or the one of an installed package; None for neither.

    Raises: TaskError for a package whose task cannot be loaded, and for two that have the name.
    """
    if name in _registered:
        return _registered[name]
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        return None
    if len({entry.value for entry in found}) > 1:
        packages = " and ".join(sorted({_package(entry) for entry in found}))
        raise TaskError(
            f"two packages have a task called {name!r}: {packages}; uninstall one of them"
        )
    return _of_entry(found[0])


def _of_entry(entry: EntryPoint) -> Task:
    key = (entry.name, entry.value)
    if key in _entries:
        return _entries[key]
    what = f"task {entry.name!r} of package {_package(entry)}"
    try:
        task = entry.load()
    except M890Error as error:
        raise TaskError(f"{what} cannot be loaded: {error}") from error
    except (Exception, SystemExit) as error:
        raise TaskError(f"{what} cannot be loaded: {said(error)}") from error
    if not isinstance(task, Task):
        raise TaskError(f"{what}: {entry.value} must be a Task, not {described(task)}")
    if task.name != entry.name:
        raise TaskError(
            f"{what}: {entry.value} is the task {task.name!r}; the entry point must have its name"
        )
    _entries[key] = _with_code(task)
    return _entries[key]


def _package(entry: EntryPoint) -> str:
    return "(unknown)" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def task_of_file(spec: str) -> Task:
    """The task of `path/to/file.py:NAME`; the file is imported, once for each of its contents.

    Raises: TaskError for a file that cannot be read or imported, a missing name, a name that is no
    task, and a task with the name of a built-in one.
    """
    from m890sim.workloads.tasks import TASKS, get_task

    path, colon, name = spec.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        bare = spec.rstrip(":")
        bare = bare if bare.endswith(".py") else "path/to/file.py"
        raise TaskError(
            f"{described(spec, 200)} must name the task in the file: {shown(bare, 200)}:NAME, as "
            "in `NAME = define_task(...)`"
        )
    file = Path(path)
    where = shown(path, 200)
    text = _text(file, where)
    key = (str(file.absolute()), text_digest(text), name)
    if key in _tasks:
        return _tasks[key]
    module = _module(file, where, text)
    if not hasattr(module, name):
        there = [each for each, value in vars(module).items() if isinstance(value, Task)]
        has = f"the tasks in it are {', '.join(there)}" if there else "it holds no task"
        raise TaskError(f"task file {where} has no {name}; {has}")
    task = getattr(module, name)
    if not isinstance(task, Task):
        raise TaskError(
            f"{name} in task file {where} must be a Task, as define_task gives it, not "
            f"{described(task)}"
        )
    if task.name in (*TASKS, *MORE) and task != get_task(task.name):
        raise TaskError(
            f"{name} in task file {where} is called {task.name!r}, which is the name of a built-in "
            "task; give it another name"
        )
    code = task.code or text_digest(text)
    _tasks[key] = replace(task, code=code, origin=f"{file.absolute()}:{name}")
    for case in task.cases:
        if isinstance(case, OwnCase):
            ORIGINS[case.definition] = _tasks[key].origin
    return _tasks[key]


def _text(file: Path, where: str) -> str:
    try:
        with open(file, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise TaskError(f"cannot read task file {where}: {error.strerror or error}") from error
    except ValueError as error:  # no UTF-8, or a path with a NUL
        raise TaskError(f"task file {where} cannot be read: {error}") from error
    if len(data) > MOST_BYTES:
        raise TaskError(f"task file {where} has more than {MOST_BYTES:,} bytes; make it smaller")
    return text


def _module(file: Path, where: str, text: str) -> ModuleType:
    """The file as a module, named by its content: the same name wherever it lies."""
    key = (str(file.absolute()), text_digest(text))
    if key in _files:
        return _files[key]
    module = ModuleType(f"m890sim_task_{key[1][:16]}")
    module.__file__ = str(file.absolute())
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        exec(compile(text, module.__file__, "exec"), vars(module))
    except BaseException as error:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
        if isinstance(error, SyntaxError):
            raise TaskError(
                f"task file {where}, line {error.lineno}: {error.msg}; mend the file"
            ) from error
        if isinstance(error, M890Error):
            raise TaskError(f"task file {where}: {error}") from error
        if isinstance(error, (Exception, SystemExit)):
            raise TaskError(f"task file {where} cannot be imported: {said(error)}") from error
        raise
    _files[key] = module
    return module


def _with_code(task: Task) -> Task:
    """The task with the digest of the files that its classes and functions stand in."""
    if task.code:
        return task
    kinds = {type(case) for case in task.cases}
    rules = [] if task.hidden is None else [task.hidden.draw]
    return replace(task, code=code_of([*kinds, *rules]))
