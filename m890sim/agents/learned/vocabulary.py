"""VOCABULARY: the moves that trained agents choose from, by number; the same for every kernel.

First come the remedies of the profile's findings, which are made of several edits, then the macro
actions: one edit at all its places, or at all of one kind. Numbers are part of every trained file:
a file names the digest of the vocabulary that it was made with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from m890sim.digests import digest_of
from m890sim.profile.remedies import REMEDIES, Remedy
from m890sim.profile.remedy_parts import EachPlace
from m890sim.schedule.macros import EVERYWHERE, MACROS, Macro, MacroActions
from m890sim.session import Facade, context_of

TUNABLES = 4  # blocks that a remedy may size alone, by their order in the text
# Macros that make a kernel slower by themselves, everywhere: they stay for `annealing` to find.
_LEFT_OUT = frozenset(("add_fence", "set_queue", "stage_later", "stage_earlier", "split_fma"))


@dataclass(frozen=True, slots=True)
class TrainedMove:
    """A move of the vocabulary.

    family: what it has in common with others that differ in an argument or a reach alone.
    """

    name: str
    family: str
    remedy: Remedy | None = None
    tunable: int | None = None  # of a remedy that sizes one block alone
    macro: int | None = None  # id of a macro action

    @property
    def keeps(self) -> bool:
        """Whether it may stay where it gains nothing by itself."""
        return self.remedy is not None and self.remedy.keeps

    @property
    def reach(self) -> str:
        """Where it acts, as macros say it."""
        return EVERYWHERE if self.macro is None else MACROS[self.macro - 1].reach


def _moves() -> Iterator[TrainedMove]:
    for remedy in REMEDIES:
        yield TrainedMove(remedy.name, f"remedy {remedy.family}", remedy)
        (first, *more) = remedy.parts
        if not more and isinstance(first, EachPlace) and first.name == "set_tunable":
            for place in range(TUNABLES):
                name = f"{remedy.name}, block {place + 1}"
                yield TrainedMove(name, f"remedy {remedy.family}", remedy, place)
    for number, macro in enumerate(MACROS, 1):
        if macro.name not in _LEFT_OUT and not _is_remedy(macro):
            yield TrainedMove(str(macro), macro.name, macro=number)


def _is_remedy(macro: Macro) -> bool:
    """Whether a remedy does the same."""
    return macro.name == "set_tunable"


VOCABULARY: tuple[TrainedMove, ...] = tuple(_moves())
DIGEST = digest_of([move.name for move in VOCABULARY])
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(move.family for move in VOCABULARY))
NUMBERS = {move.name: number for number, move in enumerate(VOCABULARY)}


class Moves:
    """The vocabulary on a session's chip and task: which moves may apply now, and making one."""

    def __init__(self, session: Facade) -> None:
        self._session = session
        self._actions = MacroActions(context_of(session.task, session.chip))
        self._macros = {m.macro: number for number, m in enumerate(VOCABULARY) if m.macro}
        self._remedies = [number for number, m in enumerate(VOCABULARY) if m.remedy is not None]
        self._known: tuple[str, list[int]] | None = None

    def candidates(self) -> list[int]:
        """Moves that may apply to the session's kernel, rising: macros that are legal, remedies
        whose edits have a legal place; a remedy may still find nothing to do.
        """
        digest = self._session.digest
        if self._known is None or self._known[0] != digest:
            legal = self._session.legal_edits()
            names = {edit.name for edit in legal}
            tunables = len(self._session.kernel.tunables)
            found = [n for n in self._remedies if self._may(VOCABULARY[n], names, tunables)]
            ids = self._actions.by_id(self._session.kernel, legal)
            found += [self._macros[number] for number in ids if number in self._macros]
            self._known = digest, sorted(found)
        return self._known[1]

    @staticmethod
    def _may(move: TrainedMove, names: set[str], tunables: int) -> bool:
        assert move.remedy is not None
        if move.tunable is not None and not (move.tunable < tunables and tunables > 1):
            return False
        return any(_edit_of(part) in names for part in move.remedy.parts)

    def perform(self, number: int) -> int:
        """Make the edits of a move; how many were made."""
        move, session = VOCABULARY[number], self._session
        if move.macro is not None:
            _, edits = self._actions.perform(session.kernel, move.macro)
            for edit in edits:
                session.apply(edit)
            return len(edits)
        assert move.remedy is not None
        remedy = move.remedy
        if move.tunable is not None:
            names = list(session.kernel.tunables)
            if move.tunable >= len(names):
                return 0
            (first,) = remedy.parts
            assert isinstance(first, EachPlace) and isinstance(first.argument, tuple)
            one = replace(first, argument=(names[move.tunable], *first.argument[1:]))
            remedy = replace(remedy, parts=(one,))
        # No profile was read, so that all transfers weigh alike.
        return remedy.perform(session, {})


def _edit_of(part: object) -> str:
    if isinstance(part, EachPlace):
        return part.name
    return "split_transfer" if type(part).__name__ == "HalvedTransfers" else "set_queue"
