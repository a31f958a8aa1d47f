"""KERNELS: the built-in kernels. They are text files in `kernels/`, read and never imported.

The rows of a level's kernels follow from the level.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from m890sim.chip import CHIPS, ChipSpec
from m890sim.errors import TaskError
from m890sim.kernel.ir import Kernel
from m890sim.messages import described
from m890sim.workloads.fitting import fitted, with_tunables
from m890sim.workloads.level import Level
from m890sim.workloads.levels import LEVELS
from m890sim.workloads.more import task_of_kernel
from m890sim.workloads.names import unknown
from m890sim.workloads.tasks import get_task


@dataclass(frozen=True, slots=True)
class KernelEntry:
    """One built-in kernel.

    A ladder leads from a task's reference (step 0) to its expert, one idea a step. Where a kernel's
    tunables say what a chip has (queues, memory), `tuned` holds their values for other presets.
    """

    name: str
    file: str  # in kernels/
    task: str  # key of TASKS
    idea: str  # one line
    ladder: str | None = None  # the task whose ladder it is a step of
    step: int = 0
    tuned: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by chip, by tunable

    @property
    def text(self) -> str:
        """The kernel file's text."""
        return _text(self.file)


@cache
def _text(file: str) -> str:
    """A file of the package: read once, it does not change."""
    return (resources.files("m890sim.workloads") / "kernels" / file).read_text("utf-8")


@cache
def _parsed(file: str) -> bytes:
    """The checked kernel of a file, pickled: a copy takes a tenth of the time of reading it.

    Everyone gets a copy, as a frozen object can still be changed by who means to.
    """
    from m890sim.language import parse

    return pickle.dumps(parse(_text(file), filename=file))


def _step(task: str, step: int, name: str, idea: str) -> KernelEntry:
    return KernelEntry(name, f"{name}.py", task, idea, ladder=task, step=step)


def _level_ladder(level: Level) -> list[KernelEntry]:
    """The ladder of a level: its reference, the steps between, its expert."""
    first, last = level.ideas
    rows = [_step(level.name, 0, level.reference_name, first)]
    for number, step in enumerate(level.steps, 1):
        row = _step(level.name, number, f"{level.name}_{number}_{step.name}", step.idea)
        rows.append(replace(row, tuned=step.tuned))
    expert = _step(level.name, len(rows), level.expert_name, last)
    return [*rows, replace(expert, tuned=level.tuned)]


_EXTEND_LADDER = (
    (
        "attention_reference",
        "a first port: 64 x 64 blocks, one queue, one slot, a fence after each step",
    ),
    ("attention_1_no_fences", "no fences: the scoreboard keeps the order"),
    ("attention_2_queues", "four DMA queues, keys and values side by side"),
    ("attention_3_slots", "two slots: the next block loads during this one"),
    ("attention_4_tiles", "tiles of 128 x 128"),
    ("attention_5_softmax", "fused softmax: scale, bias and row sums in one pass of the SFU"),
    ("attention_6_sums", "the running sums last: the next product waits for the output alone"),
    ("attention_7_diagonal", "the mask on the diagonal only"),
    ("attention_8_stages", "software pipelining: the next scores beside this softmax"),
    ("attention_9_balance", "balanced order: the heaviest items first, to whichever core is free"),
    ("attention_10_packed", "the query heads of a group packed into the rows of a tile"),
    ("attention_11_spread", "smaller query tiles where cores would have no item"),
    ("attention_12_polynomial", "some rows' exponentials as a polynomial on the vector unit"),
    ("attention_13_ping_pong", "two query tiles in ping-pong over the same keys"),
    ("attention_14_ahead", "a third slot: loads two iterations ahead"),
    ("attention_15_columns", "old and new maximum take turns as columns, no copy"),
    ("attention_16_output_queue", "a queue for the output, so that no load waits behind a store"),
    ("attention_17_first_block", "nothing to rescale in the first block"),
    ("attention_expert", "the expert: keys from the diagonal back, one tile where tiles are few"),
)
_DECODE_LADDER = (
    (
        "decode_reference",
        "a first port: a work item a sequence and query head, 64 tokens a block, fences",
    ),
    ("decode_1_no_fences", "no fences: the scoreboard keeps the order"),
    ("decode_2_queues", "four DMA queues, keys and values side by side"),
    ("decode_3_slots", "two slots: the next block loads during this one"),
    ("decode_4_packed", "the query heads of a group packed into the rows of a tile"),
    ("decode_5_split", "the cache split over the cores, a merge phase"),
    ("decode_6_balance", "splits to whichever core is free"),
    ("decode_7_blocks", "blocks of 128 tokens"),
    ("decode_8_pages", "coalesced pages: two key heads of a token in one run"),
    ("decode_9_softmax", "fused softmax: scale, bias and row sums in one pass of the SFU"),
    ("decode_10_stages", "stages: loads two iterations ahead, scores one"),
    ("decode_11_direct", "no merge for a sequence in one piece"),
    (
        "decode_expert",
        "the expert: stream-K, the keys of all sequences dealt evenly",
    ),
)
_ROWS = (
    KernelEntry(
        "attention_textbook",
        "attention_textbook.py",
        "extend",
        "three passes over scores that are kept in HBM, for teaching",
    ),
    *(_step("extend", step, name, idea) for step, (name, idea) in enumerate(_EXTEND_LADDER)),
    *(_step("decode", step, name, idea) for step, (name, idea) in enumerate(_DECODE_LADDER)),
    *(row for level in LEVELS.values() for row in _level_ladder(level)),
)

KERNELS: dict[str, KernelEntry] = {row.name: row for row in _ROWS}


def ladder(task: str) -> tuple[KernelEntry, ...]:
    """The steps of a task's ladder in order, the reference first."""
    if not isinstance(task, str):
        raise TypeError(f"task must be the name of a task, not {described(task)}")
    steps = [entry for entry in KERNELS.values() if entry.ladder == task]
    return tuple(sorted(steps, key=lambda entry: entry.step))


def get_kernel(name: str) -> KernelEntry:
    """The built-in kernel of that name.

    Raises: TaskError with the nearest names for an unknown one.
    """
    if not isinstance(name, str) or name not in KERNELS:
        raise TaskError(unknown("kernel", name, list(KERNELS)))
    return KERNELS[name]


def load_kernel(path_or_name: str | Path, chip: ChipSpec | str = "") -> Kernel:
    """The checked kernel of a built-in name, or of a file.

    A text without a path separator and without the ending .py is a built-in name where there is
    one. chip: a built-in kernel comes with its tunables for this preset; on a chip that is none, a
    task's reference comes with its tunables halved until it fits (`fitting.fitted`).
    Raises: TaskError for what is neither a name nor a file, LanguageError or LimitError for a
    refused file; TypeError for another type.
    """
    from m890sim.language import load_kernel as load_file

    if not isinstance(path_or_name, (str, Path)):
        raise TypeError(
            f"a kernel must be a built-in name or a path, not {described(path_or_name)}"
        )
    if not isinstance(chip, (ChipSpec, str)):
        raise TypeError(f"chip must be a ChipSpec or the name of a preset, not {described(chip)}")
    if isinstance(path_or_name, str) and path_or_name in KERNELS:
        return _for_chip(KERNELS[path_or_name], chip)
    further = task_of_kernel(path_or_name) if isinstance(path_or_name, str) else None
    if further is not None:
        task = get_task(further)
        return task.reference if isinstance(chip, str) else task.reference_on(chip)
    path = Path(path_or_name)
    try:
        directory, there = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # too long, or with a NUL
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise TaskError(
            f"{described(str(path_or_name))} cannot be a path of a kernel file: {why}; "
            "give the path of a kernel file or a built-in name"
        ) from error
    if directory:
        raise TaskError(
            f"{described(str(path_or_name), 200)} is a directory; give the path of a kernel file"
        )
    if there:  # a pipe too, as the shell's `<(...)` makes one
        return load_file(path)
    if path.suffix == ".py" or len(path.parts) > 1:
        raise TaskError(
            f"no kernel file {described(str(path_or_name), 200)}; "
            "give the path of a kernel file or a built-in name"
        )
    raise TaskError(unknown("kernel", str(path_or_name), list(KERNELS)))


def _for_chip(entry: KernelEntry, chip: ChipSpec | str) -> Kernel:
    """A built-in kernel with the tunables that it has on a chip."""
    kernel: Kernel = pickle.loads(_parsed(entry.file))
    name = chip if isinstance(chip, str) else chip.name
    if name in CHIPS or isinstance(chip, str):
        return with_tunables(kernel, entry.tuned.get(name, {}))
    return with_tunables(kernel, _fallen_back(entry.name, chip))


@lru_cache(maxsize=1024)
def _fallen_back(name: str, chip: ChipSpec) -> Mapping[str, int]:
    """The tunables of a task's reference on a chip that is no preset; none for other kernels."""
    task = get_task(KERNELS[name].task)
    if name != task.reference_name:
        return {}
    return MappingProxyType(fitted(task.reference, task, chip).tunables)
