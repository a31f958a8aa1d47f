"""Credit: which moves have helped so far in a run, and the choice of the next ones by it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from m890sim.agents.dice import Dice
from m890sim.agents.moves import ANY, REACHES, Move
from m890sim.schedule import Argument
from m890sim.session import Facade

HOPE = 0.1  # what an untried choice is taken to earn: log of the speedup, one trial
LEAST = 0.0001  # nothing is ever given up
MOST_DRAW = 1 << 30


class Credit:
    """A bandit over edits and reaches: means of what they earned, with hope for the untried.

    All edits begin equal. `fade` forgets part of the past, because a kernel that has become faster
    is another place, where what failed may work.
    """

    def __init__(self) -> None:
        self._earned: dict[Hashable, float] = {}
        self._tried: dict[Hashable, float] = {}

    def copy(self) -> Credit:
        """The same credit, on its own."""
        other = Credit()
        other._earned, other._tried = dict(self._earned), dict(self._tried)
        return other

    def weight(self, key: Hashable) -> float:
        """How much to favour a choice: the square of what it earns on average."""
        mean = (HOPE + self._earned.get(key, 0.0)) / (1.0 + self._tried.get(key, 0.0))
        return LEAST + mean * mean

    def note(self, moves: Sequence[Move], earned: float) -> None:
        """Moves were tried together and earned this much (log of the speedup), or nothing."""
        for move in moves:
            for key in _keys(move):
                self._earned[key] = self._earned.get(key, 0.0) + max(0.0, earned)
                self._tried[key] = self._tried.get(key, 0.0) + 1.0

    def fade(self, keep: float) -> None:
        """Forget all but a share of the past."""
        for part in (self._earned, self._tried):
            for key in part:
                part[key] *= keep

    def propose(self, session: Facade, dice: Dice) -> Move | None:
        """A move that is legal now; None where nothing is."""
        choices: dict[str, dict[Argument, None]] = {}
        for edit in session.legal_edits():
            choices.setdefault(edit.name, {})[edit.argument] = None
        if not choices:
            return None
        names = list(choices)
        name = dice.weighted(names, [self.weight(name) for name in names])
        arguments = list(choices[name])
        argument = dice.weighted(arguments, [self.weight((name, value)) for value in arguments])
        reaches = [reach for reach in REACHES if reach != ANY or len(arguments) > 1]
        weights = [REACHES[reach] * self.weight((name, "at", reach)) for reach in reaches]
        return Move(name, argument, dice.weighted(reaches, weights), dice.below(MOST_DRAW))


def _keys(move: Move) -> tuple[Hashable, ...]:
    return (move.name, (move.name, move.argument), (move.name, "at", move.reach))
