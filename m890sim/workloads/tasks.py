"""TASKS: the attention tasks with their cases (SUITE), and the small levels (LEVELS)."""

from __future__ import annotations

from m890sim.errors import TaskError
from m890sim.kernel.ir import Param
from m890sim.workloads.attention import AttentionCase
from m890sim.workloads.hidden import DECODE_HIDDEN, EXTEND_HIDDEN
from m890sim.workloads.levels import LEVELS
from m890sim.workloads.more import MORE, more_task
from m890sim.workloads.names import unknown
from m890sim.workloads.outside import entry_names, is_file, registered, task_of_file, task_of_name
from m890sim.workloads.task import Task, table, tensor

_CACHE = (tensor("k_cache", "S", "HKV", "D"), tensor("v_cache", "S", "HKV", "D"))
_SCALE = Param("scale", "scalar")


def _extend(
    name: str,
    cached: int,
    new: int,
    heads: tuple[int, int],
    text: str,
    elements: int = 128,
    shuffled: bool = False,
) -> AttentionCase:
    return AttentionCase(name, "extend", (cached,), (new,), *heads, elements, 16, shuffled, text)


_RAGGED = (1, 2, 5, 16, 31, 64, 127, 200, 333, 512, 777, 1024, 1500, 2047, 3000, 4096)

EXTEND = Task(
    "extend",
    "Causal attention of new tokens over a paged prefix and themselves; prefill without one.",
    (
        tensor("q", "T", "HQ", "D"),
        tensor("k", "T", "HKV", "D"),
        tensor("v", "T", "HKV", "D"),
        *_CACHE,
        tensor("o", "T", "HQ", "D"),
        table("qo_indptr", "B + 1"),
        table("kv_indptr", "B + 1"),
        table("kv_indices", "P"),
        Param("max_extend", "size"),
        Param("max_prefix", "size"),
        _SCALE,
    ),
    ("o",),
    (
        _extend("prefill-256", 0, 256, (4, 4), "a short prompt", 64),
        _extend("prefill-1024", 0, 1024, (8, 2), "a prompt, four query heads a key head"),
        _extend("prefill-2048", 0, 2048, (8, 8), "a long prompt, every head its own keys"),
        _extend(
            "extend-1920+128", 1920, 128, (8, 2), "the next chunk of a long prompt, pages in order"
        ),
        AttentionCase(
            "extend-ragged",
            "extend",
            (8, 16, 32, 64, 1000),
            (1, 7, 13, 129, 300),
            8,
            2,
            64,
            1,
            True,
            "five sequences of unlike lengths, page size 1, shuffled",
        ),
        _extend(
            "extend-512+512",
            512,
            512,
            (8, 2),
            "half cached, half new, shuffled pages of 16",
            shuffled=True,
        ),
    ),
    "attention_reference",
    "attention_expert",
    positive=("scale",),
    hidden=EXTEND_HIDDEN,
)

DECODE = Task(
    "decode",
    "Attention of one new token a sequence over its paged cache, its own key included.",
    (
        tensor("q", "B", "HQ", "D"),
        *_CACHE,
        tensor("o", "B", "HQ", "D"),
        table("kv_indptr", "B + 1"),
        table("kv_indices", "P"),
        Param("max_length", "size"),
        _SCALE,
    ),
    ("o",),
    (
        AttentionCase(
            "decode-4x8192",
            "decode",
            (8192,) * 4,
            (1,) * 4,
            8,
            2,
            128,
            16,
            True,
            "few long sequences, pages of 16",
        ),
        AttentionCase(
            "decode-ragged",
            "decode",
            # Long and short neighbours: the order of the sequences must not balance the cores by
            # itself.
            tuple(_RAGGED[(5 * i + 3) % 16] for i in range(16)),
            (1,) * 16,
            8,
            8,
            128,
            16,
            True,
            "sixteen sequences of 1 to 4,096 tokens, pages of 16",
        ),
        AttentionCase(
            "decode-1x16384",
            "decode",
            (16384,),
            (1,),
            16,
            2,
            128,
            64,
            True,
            "one very long sequence, pages of 64",
        ),
    ),
    "decode_reference",
    "decode_expert",
    positive=("scale",),
    hidden=DECODE_HIDDEN,
)

SUITE: dict[str, Task] = {task.name: task for task in (EXTEND, DECODE)}
TASKS: dict[str, Task] = SUITE | LEVELS


def get_task(name: str) -> Task:
    """The task of that name: built in, registered, of an installed package, or `file.py:NAME`.

    A file is imported: it is its author's code, and trusted.
    Raises: TaskError with the nearest names for an unknown one, or for a file or a package whose
    task cannot be loaded; TypeError for what is no text.
    """
    if isinstance(name, str) and name not in TASKS and is_file(name):
        return task_of_file(name)
    return known_task(name)


def known_task(name: str) -> Task:
    """As `get_task`, but no name leads to a file: for names that come from records.

    Raises: TaskError, TypeError.
    """
    if isinstance(name, str):
        found = TASKS.get(name) or (more_task(name) if name in MORE else task_of_name(name))
        if found is not None:
            return found
    names = list(dict.fromkeys((*TASKS, *MORE, *registered(), *entry_names())))
    raise TaskError(f"{unknown('task', name, names)} (one of your own: path/to/file.py:NAME)")
