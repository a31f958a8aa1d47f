"""What a student gets: a chip and shapes of their own, which follow from their name alone.

Each is a preset with other latencies and rates, so that every exercise has its lesson for everyone
and no two have the same answer. docs/exercises/README.md lists what is drawn.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping

from m890sim.chip import ChipSpec, get_chip
from m890sim.chip.sampling import Sampler
from m890sim.errors import ExerciseError
from m890sim.messages import described

MOST_NAME = 64  # characters
SCHEME = "m890-exercises-1"  # of the draws: another one gives everybody other numbers

# Preset -> field -> what a student may get. Memories, queues and cores stay: they decide what fits.
DRAWN_FIELDS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "m890-mini": {
        "launch_cycles": (80, 100, 120, 150, 200),
        "core_start_cycles": (10, 20, 30, 40),
        "dma_issue_cycles": (8, 10, 12, 16),
        "dma_bytes_per_cycle": (8, 10, 12, 16),
        "dma_latency_cycles": (60, 80, 100, 120, 150),
        "dma_completion_cycles": (5, 10, 15, 20),
        "vector_startup_cycles": (8, 10, 12, 15, 20),
        "vector_bf16_lanes": (20, 24, 32),
        "dependence_cycles": (4, 5, 6, 8),
    },
    "m890": {
        "launch_cycles": (1000, 1200, 1500, 2000),
        "dma_issue_cycles": (40, 50, 60),
        "dma_latency_cycles": (700, 800, 900, 1000, 1200, 1400),
        "dma_completion_cycles": (60, 80, 100),
        "dma_run_cycles": (6, 8, 10),
        "hbm_bytes_per_cycle": (2560, 3200, 3840),
        "vector_startup_cycles": (30, 40, 50),
        "sfu_startup_cycles": (30, 40, 50),
        "sfu_elements_per_cycle": (24, 32, 40),
        "dependence_cycles": (15, 20, 25, 30),
    },
}
_BETWEEN = "_ .@-"  # beside letters, marks and digits of any script


def student_key(student: str | None) -> str:
    """What the draws of a student follow from: the name, however it is capitalized; "" for None.

    Raises: ExerciseError for a name of other characters, or of more than 64; TypeError.
    """
    if student is None:
        return ""
    if not isinstance(student, str):
        raise TypeError(f"student must be a name or None, not {described(student)}")
    if not 1 <= len(student) <= MOST_NAME:
        raise ExerciseError(
            f"a student's name has 1 to {MOST_NAME} characters, not {len(student):,}; "
            "give a short one, such as an account's"
        )
    name = unicodedata.normalize("NFC", student)
    kinds = [unicodedata.category(sign)[0] for sign in name]
    if (
        kinds[0] not in "LN"
        or name[-1] in " ."
        or any(
            kind not in "LMN" and sign not in _BETWEEN
            for kind, sign in zip(kinds, name, strict=True)
        )
    ):
        raise ExerciseError(
            f"{described(student)} is no name of a student: it begins with a letter or digit, has "
            "letters, digits, spaces and _ . @ - alone, and no space or dot at its end"
        )
    return unicodedata.normalize("NFC", name.casefold())


def student_chip(preset: str, student: str | None = None) -> ChipSpec:
    """A student's chip: the preset with other latencies and rates; the preset itself for None.

    Raises: as `student_key` and `get_chip`; ExerciseError for a chip around which nothing is drawn.
    """
    key, chip = student_key(student), get_chip(preset)
    if not key:
        return chip
    if preset not in DRAWN_FIELDS:
        raise ExerciseError(
            f"nothing is drawn around {described(preset)}; give one of {', '.join(DRAWN_FIELDS)}"
        )
    sampler = Sampler(f"{SCHEME}/{preset}/{key}")
    drawn = {name: sampler.pick(name, values) for name, values in DRAWN_FIELDS[preset].items()}
    mark = hashlib.sha256(f"{SCHEME}/{key}".encode()).hexdigest()[:8]
    return chip.replace(name=f"{preset}-{mark}", **drawn)


def drawn_shape(
    number: int, shapes: Mapping[str, tuple[int, ...]], student: str | None
) -> dict[str, int]:
    """A student's extents in an exercise, the first of each for None. Raises: as `student_key`."""
    key = student_key(student)
    if not key:
        return {name: values[0] for name, values in shapes.items()}
    sampler = Sampler(f"{SCHEME}/{number}/{key}")
    return {name: sampler.pick(name, values) for name, values in shapes.items()}
