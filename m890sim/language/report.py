"""Collecting the errors of a file, with their places and suggestions."""

from __future__ import annotations

from collections.abc import Iterable

from m890sim.errors import Diagnostic, LanguageError
from m890sim.kernel import ir

HOLE = "<error>"  # stands for a part that was refused; nothing more is reported about it


class Report:
    """Every error found so far, and the places of expressions, which carry none themselves."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.diagnostics: dict[Diagnostic, None] = {}
        self.unknown: set[str] = {HOLE}  # names whose definition was refused
        self._places: dict[
            int, tuple[object, ir.SourceLoc]
        ] = {}  # id -> (the node, kept alive; its place)
        self.lost_symbols = False  # a refused parameter may have had dimensions with names
        self._suggestions = 0

    def add(self, code: str, message: str, loc: ir.SourceLoc) -> None:
        """Records an error; the same error at the same place counts once."""
        line, column = max(loc.line, 1), max(loc.column, 1)
        self.diagnostics[Diagnostic(code, message, line, column, self.filename)] = None

    def place(self, node: object, loc: ir.SourceLoc) -> None:
        """Remembers where a node stands."""
        self._places[id(node)] = (node, loc)

    def where(self, node: object, default: ir.SourceLoc) -> ir.SourceLoc:
        """Where a node stands, or `default` for a node that was not read from text."""
        return self._places.get(id(node), (node, default))[1]

    def suggest(self, word: str, known: Iterable[str]) -> str:
        """`; did you mean x?` or nothing; bounded, as comparing many long names is slow."""
        self._suggestions += 1
        if self._suggestions > 50 or len(word) > 40:
            return ""
        candidates = [name for name in known if len(name) <= 40 and name != word][:400]
        close = [(slips(word, name), name) for name in candidates]
        most = 2 if len(word) > 8 else 1
        slip, name = min(close, key=lambda pair: pair[0], default=(most + 1, ""))
        # Another letter in a short word is another word: `sin` is not meant to be `min`.
        other = len(word) <= 3 and len(word) == len(name) and sorted(word) != sorted(name)
        if slip > most or (other and slip) or (len(word) < 3 and slip):
            return ""
        return f"; did you mean `{name}`?"

    def raise_errors(self) -> None:
        """Raises: LanguageError, where there is any error."""
        if self.diagnostics:
            raise LanguageError(self.diagnostics)


def slips(word: str, name: str) -> int:
    """Typing slips between two words: letters wrong, missing, too many or swapped; case is none.

    The optimal string alignment distance, over letters of one case without underscores.
    """
    first, second = (text.lower().replace("_", "") for text in (word, name))
    if abs(len(first) - len(second)) > 2:
        return 3
    before: list[int] = []
    last = list(range(len(second) + 1))
    for row, letter in enumerate(first, 1):
        line = [row]
        for column, other in enumerate(second, 1):
            least = min(
                last[column] + 1, line[column - 1] + 1, last[column - 1] + (letter != other)
            )
            if row > 1 and column > 1 and letter == second[column - 2] and first[row - 2] == other:
                least = min(least, before[column - 2] + 1)
            line.append(least)
        before, last = last, line
    return last[-1]
