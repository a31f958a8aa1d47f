"""Refused input: one message on stderr, exit status 2 and, with --json, one object on stdout.

The object is `{"error": {...}, "errors": [...]}`: `errors` holds every finding (`Finding.as_dict`),
`error` the first of them with the exit status. A command that has more to say (`check`, `run` where
some cases ran) adds both keys to its own object: `error` is there exactly where something was
refused. One mechanism for all: commands raise, `main` tells.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from m890sim.cli import notes, show
from m890sim.errors import CodedError, LanguageError, M890Error

REFUSED = 2

_PLACED = re.compile(
    r"(?:(?P<file>[^\n]+?):(?P<line>\d+):(?P<column>\d+): )?(?P<code>E\d{3}) (?P<message>.*)", re.S
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to refuse. code: of docs/language.md, None where there is none."""

    message: str
    code: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    cases: tuple[str, ...] = ()  # that it concerns, where not all

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"cases": list(self.cases)}

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line is not None else ""
        code = f"{self.code} " if self.code else ""
        cases = f" ({', '.join(self.cases)})" if self.cases else ""
        return f"{where}{code}{self.message}{cases}"


class RefusedInput(M890Error):
    """Several reasons to refuse, each told by itself."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class UsageExit(SystemExit):
    """A command line that argparse does not take, after it has been told on stderr."""

    def __init__(self, message: str) -> None:
        super().__init__(REFUSED)
        self.message = message


class CommandParser(argparse.ArgumentParser):
    """A parser whose refusals keep their message, for --json."""

    def error(self, message: str) -> NoReturn:
        """Tell the usage and what is wrong with it, and leave with status 2."""
        self.print_usage(sys.stderr)
        notes.tell(f"{self.prog}: error: {message}")
        raise UsageExit(message)


def findings_of(error: BaseException) -> list[Finding]:
    """Every finding that an error stands for."""
    if isinstance(error, RefusedInput):
        return list(error.findings)
    if isinstance(error, LanguageError):
        return [Finding(d.message, d.code, d.filename, d.line, d.column) for d in error.diagnostics]
    if isinstance(error, CodedError):
        return [finding_of(str(error))]
    # What a process of its own refused comes as text.
    found = [finding_of(line) for line in str(error).splitlines()]
    return found if found and all(one.line for one in found) else [Finding(str(error))]


def finding_of(text: str, cases: tuple[str, ...] = ()) -> Finding:
    """The finding that the text of a CodedError says: `file:line:column: CODE message`."""
    found = _PLACED.fullmatch(text)
    if found is None:
        return Finding(text, cases=cases)
    line, column = (None if found[key] is None else int(found[key]) for key in ("line", "column"))
    return Finding(found["message"], found["code"], found["file"], line, column, cases)


def as_data(findings: Sequence[Finding], status: int = REFUSED) -> dict[str, Any]:
    """The keys `error` and `errors` of a command's object; none where nothing was refused."""
    if not findings:
        return {}
    data = [finding.as_dict() for finding in findings]
    return {"error": data[0] | {"status": status}, "errors": data}


def print_refusal(findings: Sequence[Finding], status: int = REFUSED) -> None:
    """The object of a command that has nothing else to say; a stdout that is gone takes none."""
    with suppress(OSError, ValueError):
        show.print_json(as_data(findings, status))
        sys.stdout.flush()


def tell(finding: Finding) -> None:
    """One finding on stderr; with a place it stands alone, so that editors can jump there."""
    text = show.harmless(str(finding))
    notes.tell(text if finding.line is not None else f"m890: {text}")
