"""Blind: knows the reference that it was shown and what errors say, and nothing of the chip.

It takes a call for a call and a loop for a loop because they look so; that `fence()` may go, or
that a number of the head is a block's size, it finds out.
"""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.protocol.players import changes
from m890sim.protocol.players.climber import LEAST, SAME, Making, TextClimber
from m890sim.protocol.players.probes import learn
from m890sim.protocol.players.served import Served

ROUNDS = 8


@dataclass(frozen=True, slots=True)
class _ChangeKind:
    """A kind of changes; least, anew, shrink: as for `TextClimber.climb`."""

    making: Making
    least: float = LEAST
    anew: bool = False
    shrink: bool = False


_KINDS = (
    _ChangeKind(lambda lines, _: changes.deletions(lines)),
    _ChangeKind(lambda lines, _: changes.numbers(lines), anew=True),
    _ChangeKind(changes.words),
    _ChangeKind(changes.folds),
    _ChangeKind(changes.sinks, SAME),
    _ChangeKind(changes.stages, shrink=True),
    _ChangeKind(lambda lines, _: changes.moves(lines)),
    _ChangeKind(changes.integers),
)


class BlindClimber(TextClimber):
    """Tries every kind of change in turn, until a whole round brings nothing."""

    def search(self) -> None:
        """See `TextClimber.search`."""
        learned = learn(self.lines, self.check)
        for number in range(ROUNDS):
            before = self.speedup
            for kind in _KINDS:
                self.climb(kind.making, learned, kind.least, kind.anew, kind.shrink)
            if number and self.speedup < before * LEAST:
                return


def play_blind(served: Served) -> None:
    """Play a session to its end."""
    BlindClimber(served).play()
