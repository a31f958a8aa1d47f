"""Protocol: what a benchmark compares, on what, and how long; kept beside its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.files import write_json
from m890sim.agents.reading import RunError, parse_object, read_bounded
from m890sim.bench.cells import SPLITS, Cell, cells_of
from m890sim.judge.evaluation import package_version
from m890sim.messages import described
from m890sim.timing import TIMING_VERSION

FILE = "bench.json"
KIND = "m890sim benchmark"
REFERENCE, RECIPE = "reference", "recipe"
STARTS = (REFERENCE, RECIPE)
SMALL = ("vector_add", "row_softmax", "matmul", "attention_head")
BUDGETS = (16, 32, 64, 128, 432)
MOST_CELLS, MOST_RUNS = 2000, 100_000


@dataclass(frozen=True, slots=True)
class Protocol:
    """Where agents are measured, and for how long; which agents may grow.

    splits: keys of `cells.SPLITS`. tasks: names, `file.py:NAME`. chips: in all. seeds: runs of each
    agent on a cell. budgets: evaluations, rising. starts: "reference", "recipe" (the end of the
    best fixed list). hidden: further cases that each final judgement draws.
    Raises: TypeError, ValueError, naming the field.
    """

    splits: tuple[str, ...]
    tasks: tuple[str, ...] = SMALL
    chips: int = 24
    seeds: int = 3
    budgets: tuple[int, ...] = BUDGETS
    starts: tuple[str, ...] = (REFERENCE,)
    cases: int = 2
    least_work: int = 2**15
    most_work: int = 2**20
    hidden: int = 0

    def __post_init__(self) -> None:
        for name, known in (("splits", tuple(SPLITS)), ("starts", STARTS)):
            given = getattr(self, name)
            for one in given:
                if one not in known:
                    raise ValueError(f"{name} may have {', '.join(known)}, not {described(one)}")
        for name in ("splits", "starts", "tasks", "budgets"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ValueError(f"{name} must name at least one, none twice, not {given!r:.80}")
        for name, least, most in (
            ("chips", 1, 1000),
            ("seeds", 1, 1000),
            ("cases", 1, 16),
            ("least_work", 0, 2**40),
            ("most_work", max(1, self.least_work), 2**40),
            ("hidden", 0, 100),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"{name} must be an integer of {least:,} ... {most:,}, not {described(value)}"
                )
        if list(self.budgets) != sorted(self.budgets) or self.budgets[0] < 1:
            raise ValueError(f"budgets must be rising and at least 1, not {self.budgets!r:.80}")
        if self.chips * len(self.tasks) > MOST_CELLS:
            raise ValueError(f"at most {MOST_CELLS:,} cells are measured, chips times tasks")

    def cells(self) -> tuple[Cell, ...]:
        """What agents are measured on. Raises: M890Error."""
        return cells_of(
            self.splits, self.tasks, self.chips, self.cases, self.least_work, self.most_work
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the versions that it holds for."""
        return {
            "kind": KIND,
            "m890sim": package_version(),
            "timing_version": TIMING_VERSION,
            **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()},
        }


def protocol_of(data: Mapping[str, Any], where: str) -> Protocol:
    """The protocol of a file. Raises: RunError for what is none, or of another version."""
    if data.get("kind") != KIND:
        raise RunError(f"{where} is no folder of m890 bench, by its {FILE}")
    for key, here in (("m890sim", package_version()), ("timing_version", TIMING_VERSION)):
        if data.get(key) != here:
            raise RunError(
                f"{where} was made by another version: {key} {data.get(key)!r:.60}, here {here!r}; "
                "nothing was changed"
            )
    names = tuple(Protocol.__dataclass_fields__)
    try:
        given: dict[str, Any] = {name: data[name] for name in names}
        for name, value in given.items():
            given[name] = tuple(value) if isinstance(value, list) else value
        return Protocol(**given)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{where}: {FILE} is damaged: {error!s:.200}; nothing was changed"
        ) from error


def read_protocol(folder: Path) -> Protocol | None:
    """The protocol of a folder; None where it has none. Raises: RunError."""
    file = folder / FILE
    if not file.exists():
        return None
    return protocol_of(parse_object(read_bounded(file), str(file)), str(folder))


def begin(folder: Path, protocol: Protocol) -> None:
    """Make the folder, or check that it is of this protocol. Raises: RunError."""
    known = read_protocol(folder)
    if known is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{folder} is not empty and no folder of m890 bench; choose another one")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, protocol.as_dict())
        return
    said, wanted = known.as_dict(), protocol.as_dict()
    for key, value in wanted.items():
        if said[key] != value:
            raise RunError(
                f"{folder} was begun with {key.replace('_', ' ')} {said[key]!r:.80}, not "
                f"{value!r:.80}; go on with the same, or choose another --out"
            )
