"""Scripts of edits: one line an edit, the place named by what the statement says.

    set_tunable ('BQ', 'double')    an edit of the kernel as a whole
    set_queue 1 load(vt             the first legal one at a statement that contains the text
    set_queue 1 load(vt *           one at each such statement where it is legal, last to first
    cse **                          again and again until none is legal

Blank lines and comments (#) say nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.kernel.printer import print_head
from m890sim.messages import described
from m890sim.schedule import (
    EDITS,
    Argument,
    Context,
    Edit,
    EditError,
    Site,
    check_edit,
    rewrite,
)
from m890sim.schedule.core.tree import sites
from m890sim.session.session import KernelSession

MOST = 1000  # edits that one line may make
MOST_SCRIPT = 2**20  # bytes of a script
MOST_LINE = 1000  # characters


class ScriptError(M890Error):
    """A line of a script that says nothing known, or that no legal edit fits.

    line: its number, None where it is the script as a whole that is refused.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(message if line is None else f"line {line}: {message}")


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """One line of a script."""

    number: int
    name: str
    argument: Argument
    text: str  # what the statement must contain
    stars: int = 0  # 0: the first place that fits, 1: every such place, 2: until none is left

    def __str__(self) -> str:
        argument = "" if self.argument is None else f" {self.argument!r}"
        where = f" {self.text}" if self.text else ""
        stars = f" {'*' * self.stars}" if self.stars else ""
        return f"{self.name}{argument}{where}{stars}"


def parse_script(text: str) -> list[ScriptLine]:
    """The lines of a script. Raises: ScriptError with the line's number; TypeError for no text."""
    return list(script_lines(text))


def script_lines(text: str) -> Iterator[ScriptLine]:
    """`parse_script`, line by line: those before a bad one can be used."""
    if not isinstance(text, str):
        raise TypeError(f"a script must be a text, not {described(text)}")
    if len(text) > MOST_SCRIPT:
        raise ScriptError(f"a script may have {MOST_SCRIPT:,} characters, not {len(text):,}")
    for number, full in enumerate(text.splitlines(), 1):
        if len(full) > MOST_LINE:
            raise ScriptError(
                f"a line may have {MOST_LINE:,} characters, not {len(full):,}", number
            )
        line = full.partition("#")[0].strip()
        if not line:
            continue
        name, _, rest = line.partition(" ")
        if name not in EDITS:
            raise ScriptError(f"unknown edit {described(name)}; `m890 edits` lists them", number)
        rest = rest.strip()
        plain = rest.rstrip("*")
        stars = len(rest) - len(plain) if not plain or plain.endswith(" ") else 0
        argument, where = _argument(plain.strip() if stars else rest)
        try:
            check_edit(Edit(name, (), argument))
        except (TypeError, EditError) as error:
            raise ScriptError(str(error), number) from error
        yield ScriptLine(number, name, argument, where, min(stars, 2))


def _argument(rest: str) -> tuple[Argument, str]:
    """A leading literal (a number, a string, a tuple) and the rest of the line."""
    word = rest.partition(" ")[0]
    if rest.startswith("("):
        word = rest.partition(")")[0] + ")"
    elif not word.isdigit() and word[:1] not in ("'", '"'):
        return None, rest
    try:
        value = ast.literal_eval(word)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None, rest
    return value, rest[len(word) :].strip()


def run_line(session: KernelSession, line: ScriptLine) -> int:
    """Make the edits of a line; how many there were.

    Raises: ScriptError where no legal edit fits (the session is then as before); TypeError.
    """
    _check_session(session)
    if not isinstance(line, ScriptLine):
        raise TypeError(f"line must be what parse_script gives, not {described(line)}")
    made = _pass(session, line)
    while line.stars == 2 and made < MOST and (more := _pass(session, line)):
        made += more
    if not made:
        raise ScriptError(
            f"no legal edit fits `{line}`; `m890 edits KERNEL --kind {line.name}` says what is "
            "legal where",
            line.number,
        )
    return made


def run_script(session: KernelSession, text: str) -> None:
    """Make all edits of a script on the session's kernel; evaluates nothing.

    Raises: ScriptError; what the lines before it did stays done. TypeError.
    """
    _check_session(session)
    for line in parse_script(text):
        run_line(session, line)


def _check_session(session: object) -> None:
    if not isinstance(session, KernelSession):
        raise TypeError(f"session must be a KernelSession, not {described(session)}")


def _pass(session: KernelSession, line: ScriptLine) -> int:
    """One edit at the first place that fits, or one at each; how many there were."""
    places = list(_places(session.kernel).items())
    if line.stars:
        places.reverse()  # what an edit changes or adds stands behind the places still to come
    made = 0
    for site, text in places:
        if line.text in text:
            try:
                session.apply(Edit(line.name, site, line.argument))
            except EditError:
                continue
            made += 1
            if not line.stars:
                break
    return made


def script_of(kernel: ir.Kernel, edits: Sequence[Edit], context: Context) -> list[str]:
    """The lines of a script that make these edits: one for each, or one with a star for all.

    Empty where no line names a place: an equal statement before it takes the edit too.
    """
    lines = []
    changed = kernel
    for edit in edits:
        texts = _places(changed)
        text = texts[edit.site]
        like = (site for site, other in texts.items() if text in other)
        found = next(
            (
                (site, result)
                for site in like
                if (result := _made(changed, Edit(edit.name, site, edit.argument), context))
            ),
            None,
        )
        if found is None or (found[0] != edit.site and len(edits) == 1):
            return []
        named = found[0] == edit.site
        changed = found[1] if named else rewrite(changed, edit, context)
        lines.append(str(ScriptLine(0, edit.name, edit.argument, text)) if named else "")
    kinds = {(edit.name, edit.argument) for edit in edits}
    if len(edits) > 1 and len(kinds) == 1:
        every = kernel
        (name, argument) = kinds.pop()
        for site in reversed(_places(kernel)):
            every = _made(every, Edit(name, site, argument), context) or every
        if every == changed:
            return [str(ScriptLine(0, name, argument, "", 1))]
    return lines if all(lines) else []


def _places(kernel: ir.Kernel) -> dict[Site, str]:
    """Every place that a line may name, and what it says."""
    texts: dict[Site, str] = {(): ""}
    texts.update((site, print_head(stmt)) for site, stmt in sites(kernel))
    return texts


def _made(kernel: ir.Kernel, edit: Edit, context: Context) -> ir.Kernel | None:
    """The changed kernel; None where the edit is not legal."""
    try:
        return rewrite(kernel, edit, context)
    except EditError:
        return None
