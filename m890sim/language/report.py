"""Collecting the errors of a file, with their places and suggestions."""

from __future__ import annotations

import difflib
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
        candidates = [name for name in known if len(name) <= 40][:400]
        close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
        return f"; did you mean `{close[0]}`?" if close else ""

    def raise_errors(self) -> None:
        """Raises: LanguageError, where there is any error."""
        if self.diagnostics:
            raise LanguageError(self.diagnostics)
