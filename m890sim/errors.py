"""Every exception of the project, and the table of error codes that users see.

All errors that a user's input can cause derive from `M890Error`; the command line turns them into
one message on stderr and exit status 2. Misuse of the Python API raises `TypeError` or `ValueError`
instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class M890Error(Exception):
    """Base class of every error that a user's input can cause."""


class ChipError(M890Error):
    """A chip that cannot exist: the message names the field, what it is and what it must be."""


class TaskError(M890Error):
    """An unknown task, case or kernel, or a kernel whose parameters do not fit the task."""


class ExerciseError(M890Error):
    """An unknown exercise, a student's name that is none, or a hand-in that cannot be graded."""


class BelowLowerBoundError(M890Error):
    """A right kernel took fewer cycles than any kernel can.

    The simulator or its bound is wrong, not the kernel: catch it, skip the kernel, and report it.
    """


class CodedError(M890Error):
    """An error with a stable code from `m890sim.errors.CODES`.

    Attributes: code (str), detail (str, the text without code and place), where (str, "" or
    "file:line:column").
    """

    def __init__(self, code: str, detail: str, where: str = "") -> None:
        if code not in CODES:
            raise ValueError(f"code must be one of errors.CODES, not {code!r}")
        self.code = code
        self.detail = detail
        self.where = where
        super().__init__(f"{where}: {code} {detail}" if where else f"{code} {detail}")


class ExecutionError(CodedError):
    """The functional run trapped.

    An undefined read, an access outside a tensor, a conflict of work items.
    """


class LimitError(CodedError):
    """A limit on work (instructions, memory, nesting, source size) would be exceeded."""


class BindError(CodedError):
    """A checked kernel does not fit this case or this chip.

    Capacity, banks, queues, missing symbols or tables.
    """


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding in a kernel file: `file:line:column: code what was found, the limit; remedy`."""

    code: str  # a key of CODES
    message: str  # what was found, what the limit is; what to do
    line: int  # 1-based
    column: int  # 1-based
    filename: str = "<kernel>"

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}: {self.code} {self.message}"


class LanguageError(M890Error):
    """A kernel file that was refused; `diagnostics` holds every error, in source order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: (d.line, d.column, d.code)))
        super().__init__("\n".join(str(d) for d in self.diagnostics))


# What is right and yet in vain: told by `m890 check`, refused by nothing. Stable, as the codes are.
WARNINGS: dict[str, str] = {
    "W101": "slots of a tile that let nothing overlap",
    "W102": "a tile that nothing reads",
    "W103": "a name that nothing uses",
    "W104": "a loop with a single stage",
    "W201": "tiles of one instruction in one bank of SRAM, on a chip and a case",
    "W202": "slots of a tile that no core passes twice, on a chip and a case",
}

# Stable: a code is never given a second meaning. E1xx: the text. E2xx: names, types, shapes,
# structure. E3xx: the kernel against a chip or a case. E4xx: while it runs. E5xx: limits on work.
CODES: dict[str, str] = {
    "E100": "the kernel file cannot be read",
    "E101": "not plain UTF-8 text",
    "E102": "not valid Python syntax",
    "E103": "no kernel in the file",
    "E104": "a construct that is not part of the language",
    "E105": "a name with letters outside ASCII",
    "E106": "the file's structure: import, decorator, one kernel",
    "E107": "a malformed parameter",
    "E108": "a malformed declaration, block or call",
    "E109": "a malformed index, slice or gather",
    "E110": "a literal of the wrong kind",
    "E201": "an unknown name",
    "E202": "a name defined twice",
    "E203": "a word of the language used as a name",
    "E204": "a name of the wrong kind for its place",
    "E205": "an unknown instruction",
    "E206": "the wrong number of operands",
    "E207": "an unknown, repeated or missing keyword",
    "E208": "an operand in the wrong memory",
    "E209": "operands of different dtypes",
    "E210": "extents that do not agree",
    "E211": "a negative extent",
    "E212": "a slice beyond its tile or tensor",
    "E213": "the wrong number of indices, or a step, on a tensor",
    "E214": "a transpose where no operand takes one",
    "E215": "a read of something never written",
    "E216": "a tensor both loaded and stored",
    "E217": "a setting out of its range",
    "E218": "a declaration that is not constant, or out of its range",
    "E219": "a statement where none of its kind may stand",
    "E220": "stages out of order, repeated or mixed with other statements",
    "E221": "stages that would change the result: a tile or tensor carried across them",
    "E222": "too few slots for the stages that touch a tile",
    "E223": "a step below 1, or a loop's step that is no constant",
    "E224": "an unknown order of work",
    "E225": "a division by zero",
    "E226": "an accumulator tile that is not f32",
    "E227": "an integer where a float belongs, or the reverse",
    "E228": "IR that no text has",
    "E229": "a constant beyond 64 bits",
    "E230": "an unknown dtype",
    "E231": "an instruction that writes one tile twice",
    "E501": "a kernel file that is too long",
    "E502": "code that is nested too deep",
    "E503": "too many IR nodes",
    "E504": "an integer literal that is too large",
    "E505": "too many dispatched instructions in a case",
    # ---- E3xx: the kernel against a chip or a case ----
    "E301": "the tiles of a phase do not fit into SRAM",
    "E302": "the tiles of a phase do not fit into ACC",
    "E303": "a DMA queue that the chip does not have",
    "E304": "the case gives no such symbol, size or table, or not a usable one",
    "E305": "an SRAM bank that the chip does not have",
    "E306": "a scalar that is known before the launch is beyond 2**62",
    "E307": "a tile of negative size",
    "E308": "HBM scratch larger than HBM",
    "E309": "slots=, at= or queue= is no constant, or slots are out of their range",
    # ---- E4xx: while it runs ----
    "E401": "a tile is read where nothing was written",
    "E402": "HBM scratch is read where nothing was written",
    "E403": "a slice beyond its tile",
    "E404": "an index or a slice beyond its tensor",
    "E405": "a negative extent",
    "E406": "extents that must agree do not",
    "E407": "an index or a slice beyond its launch table",
    "E408": "a gather names a row that its tensor does not have",
    "E409": "division by zero",
    "E410": "a scalar beyond 64 bits",
    "E411": "a store into an input",
    "E412": "a load from a tensor that the launch gives no values for",
    "E413": "two work items of a phase write the same HBM element",
    "E414": "a work item of a phase reads an HBM element that another one writes",
    "E415": "a step or a group below 1",
    "E506": "too many work items, loop trips, operations on integers or HBM windows in a launch",
    "E507": "transfers queued too far ahead of time",
    "E508": "a scalar beyond 2**62 in the launch",
    "E509": "tensors and tiles of a functional run that take too much memory",
    "E510": "too many multiply-adds or elements in a functional run",
}
