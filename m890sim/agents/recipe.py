"""Recipe: the best fixed list of moves of the training chips, and the kernel where it ends."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from m890sim.agents.agent import Agent, AgentSession
from m890sim.agents.learned.forest import TrainedFileError
from m890sim.agents.learned.vocabulary import DIGEST, NUMBERS, Moves
from m890sim.agents.plan import gate_settings
from m890sim.agents.reading import parse_object, read_bounded
from m890sim.chip import ChipSpec
from m890sim.kernel.ir import Kernel
from m890sim.session import Facade
from m890sim.workloads import Case, Task

FILE = "recipe.json"
KIND = "m890sim recipe"
SAME = 1e-9  # the cycles of all cases are as before
MOST_PASSES = 20
MOST_EVALUATIONS = 10_000  # that `recipe_kernel` may take


class ReplayedList(Agent):
    """Replays one list of moves, the same on every chip; keeps what makes the kernel faster.

    Then again from the first one, until a whole pass gains nothing. It takes nothing by chance.
    """

    name: ClassVar[str] = "recipe"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        "TRAINED on other chips: replays one fixed list of moves, keeps those that help"
    )
    trained: ClassVar[str] = (
        "the list that gains most on chips of split train, found move by move (docs/learned.md)"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        replay(session, moves_of_recipe())


def replay(session: Facade, numbers: tuple[int, ...]) -> None:
    """Make each move of a list in turn, where it helps, until a whole pass gains nothing.

    The session is then at the kernel that it came to. Raises: BudgetError.
    """
    here = session.evaluate()
    moves = Moves(session)
    for _ in range(MOST_PASSES):
        gained = False
        for number in numbers:
            place = session.position()
            if number in moves.candidates() and moves.perform(number):
                found = session.evaluate()
                better = found.failed < here.failed or (
                    not found.failed and found.speedup > here.speedup * math.exp(SAME)
                )
                if better:
                    here, gained = found, True
                    continue
            session.go_to(place)
        if not gained:
            return


def recipe_kernel(task: Task, cases: tuple[Case, ...], chip: ChipSpec) -> Kernel:
    """The kernel where the list ends on a chip: replayed from there, it gains nothing.

    It is right by the gate of searches. Raises: M890Error where the reference does not fit.
    """
    session = AgentSession(
        task,
        cases,
        chip,
        start=task.reference_on(chip),
        budget=MOST_EVALUATIONS,
        verify="best",
        **gate_settings(),
        sources=False,
    )
    replay(session, moves_of_recipe())
    return session.kernel


@cache
def moves_of_recipe() -> tuple[int, ...]:
    """The numbers of the list's moves. Raises: TrainedFileError for a damaged file."""
    with resources.as_file(resources.files("m890sim.agents") / "trained" / FILE) as file:
        return read_recipe(Path(file))


def read_recipe(file: Path) -> tuple[int, ...]:
    """The list of a file. Raises: TrainedFileError for what is damaged or of another version."""
    data: dict[str, Any] = parse_object(read_bounded(file, 1 << 20), str(file))
    if data.get("kind") != KIND or data.get("vocabulary") != DIGEST:
        raise TrainedFileError(f"{file} is no recipe of this version's moves; train it again")
    names = data.get("moves")
    if not isinstance(names, list) or not all(name in NUMBERS for name in map(str, names)):
        raise TrainedFileError(f"{file} is damaged: moves must be names of the vocabulary")
    return tuple(NUMBERS[name] for name in names)


def recipe_text(names: list[str], about: dict[str, Any]) -> str:
    """What a file of a list holds."""
    data = {"kind": KIND, "vocabulary": DIGEST, "about": about, "moves": names}
    return json.dumps(data, indent=1) + "\n"
