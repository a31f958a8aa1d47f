"""The text of a kernel file: decoding, limits that hold before parsing, tokens, comments."""

from __future__ import annotations

import ast
import bisect
import io
import itertools
import tokenize
import unicodedata
import warnings
from dataclasses import dataclass, field

from m890sim.errors import LimitError
from m890sim.kernel.ir import SourceLoc
from m890sim.language.limits import Limits
from m890sim.language.report import Report
from m890sim.messages import shown

# Characters that make a text read otherwise than it runs.
_DIRECTION_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_OPERATOR_WORDS = frozenset(
    {"not", "if", "else", "lambda", "await", "and", "or", "in", "is", "yield"}
)
_NO_CODE = frozenset(
    {tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}
)
_RESETS = frozenset({",", ":", "=", ";"})
# Operators in a row without brackets, for each level of nesting: the parser recurses on them, and
# an expression within the limits has fewer.
_CHAIN = 200
# Brackets around an expression that are no operators: a call's, a tensor's and a gather's.
_OUTER_BRACKETS = 3
# Tokens of an IR node at most, in any sensible text: files with more are refused unparsed.
_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment: its text from `#` on, its line, and whether it is alone on the line."""

    text: str
    line: int
    alone: bool


@dataclass(slots=True)
class Source:
    """A text that is small and shallow enough to be parsed, its comments and its logical lines."""

    text: str
    filename: str
    lines: list[str]
    comments: list[Comment] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(
        default_factory=list
    )  # first and last line of each logical line
    _firsts: list[int] = field(default_factory=list)
    _columns: dict[int, list[int]] = field(default_factory=dict)  # byte offsets in a line

    def span(self, line: int) -> tuple[int, int]:
        """First and last line of the logical line that holds `line`."""
        if len(self._firsts) != len(self.spans):
            self._firsts = [first for first, _ in self.spans]
        number = bisect.bisect_right(self._firsts, line) - 1
        if number < 0 or self.spans[number][1] < line:
            return (line, line)
        return self.spans[number]

    def loc(self, node: ast.AST) -> SourceLoc:
        """Place of a node of Python's syntax tree; columns count characters, not bytes."""
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        return SourceLoc(line, self._column(line, offset))

    def _column(self, line: int, offset: int) -> int:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if text.isascii():
            return offset + 1
        if line not in self._columns:
            # One table a line: a long line with many nodes would otherwise be encoded for each.
            sizes = itertools.accumulate(len(char.encode("utf-8")) for char in text)
            self._columns[line] = [0, *sizes]
        return bisect.bisect_right(self._columns[line], offset)


def read_source(text: str | bytes, report: Report, limits: Limits) -> Source | None:
    """The text, checked; None where it is no text at all.

    Raises: LimitError for a file that is too long, too deep or holds a number that is too large.
    """
    filename = report.filename
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > limits.source_bytes:
        found = f"the file has more than {limits.source_bytes} bytes, the limit; make it shorter"
        raise LimitError("E501", found, f"{filename}:1:1")
    decoded = _decode(text, report)
    if decoded is None:
        return None
    source = Source(decoded, filename, decoded.split("\n"))
    if _bad_characters(source, report):
        return None
    _scan(source, report, limits)
    return source


def parse_python(source: Source, report: Report, limits: Limits) -> ast.Module | None:
    """Python's syntax tree, or None where Python refuses the text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source.text, source.filename)
    except SyntaxError as error:
        found = shown((error.msg or "invalid syntax").rstrip("."), 120)
        loc = SourceLoc(error.lineno or 1, max(error.offset or 1, 1))
        report.add("E102", f"this is not valid Python syntax: {found}; correct the line", loc)
    except ValueError as error:
        found = shown(str(error), 120)
        report.add(
            "E102", f"Python cannot read the file: {found}; correct the text", SourceLoc(1, 1)
        )
    except (RecursionError, MemoryError):
        found = (
            f"an expression is nested deeper than {limits.nesting}, "
            "the limit; use several assignments"
        )
        raise LimitError("E502", found, f"{source.filename}:1:1") from None
    return None


def _decode(text: str | bytes, report: Report) -> str | None:
    if isinstance(text, bytes):
        raw = text
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            column = error.start - raw.rfind(b"\n", 0, error.start)
            found = f"byte 0x{raw[error.start]:02x} is not UTF-8 text; save the kernel as UTF-8"
            report.add("E101", found, SourceLoc(line, column))
            return None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def is_plain(char: str) -> bool:
    """Whether a kernel file may hold a character: no control but tab, nothing that turns text."""
    if char in _DIRECTION_CONTROLS:
        return False
    return char == "\t" or unicodedata.category(char) not in ("Cc", "Cs")


def _bad_characters(source: Source, report: Report) -> bool:
    """Reports characters that no kernel may hold, the first of each line; True for any."""
    if source.text.isascii() and source.text.replace("\n", "").replace("\t", "").isprintable():
        return False
    found = False
    for number, line in enumerate(source.lines, 1):
        bad = next((column for column, char in enumerate(line) if not is_plain(char)), None)
        if bad is not None:
            name = unicodedata.name(line[bad], "control character")
            message = f"the text holds U+{ord(line[bad]):04X} ({name}), a kernel is plain text"
            report.add("E101", f"{message}; delete it", SourceLoc(number, bad + 1))
            found = True
    return found


class _Depths:
    """Counts of open brackets, blocks and operators in a chain, while the tokens go by."""

    def __init__(self, filename: str, limits: Limits) -> None:
        self.filename = filename
        self.limit = limits.nesting
        self.blocks = -1  # the kernel's own block is around all others
        self.chains = [0]  # operators since the last comma, one entry an open bracket

    def see(self, token: tokenize.TokenInfo) -> None:
        if token.type == tokenize.INDENT:
            self.blocks += 1
            self.refuse_over(self.blocks, "blocks are", token)
        elif token.type == tokenize.DEDENT:
            self.blocks -= 1
        elif token.type == tokenize.NEWLINE:
            self.chains[-1] = 0
        elif token.type == tokenize.OP or token.string in _OPERATOR_WORDS:
            self.operator(token)

    def operator(self, token: tokenize.TokenInfo) -> None:
        if token.string in _OPENING:
            self.chains[-1] += 1
            self.chains.append(0)
            self.refuse_over(len(self.chains) - 1 - _OUTER_BRACKETS, "brackets are", token)
        elif token.string in _CLOSING:
            if len(self.chains) > 1:
                self.chains.pop()
        elif token.string in _RESETS:
            self.chains[-1] = 0
        else:
            self.chains[-1] += 1
        # A chain of operators can be less deep than long: the exact check follows the parse.
        self.refuse_over(self.chains[-1] // _CHAIN, "operators are", token)

    def refuse_over(self, depth: int, what: str, token: tokenize.TokenInfo) -> None:
        if depth > self.limit:
            found = f"{what} nested deeper than {self.limit}, the limit; use several statements"
            where = f"{self.filename}:{token.start[0]}:{token.start[1] + 1}"
            raise LimitError("E502", found, where)


def _scan(source: Source, report: Report, limits: Limits) -> None:
    """One pass over the tokens: depths, literals, names, comments, logical lines."""
    depths = _Depths(source.filename, limits)
    first = 0  # first line of the logical line being read, 0 between lines
    tokens = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            depths.see(token)
            line, column = token.start
            if token.type == tokenize.NEWLINE:
                source.spans.append((first or line, line))
                first = 0
            elif token.type not in _NO_CODE:
                first = first or line
                tokens += 1
                if tokens > limits.nodes * _TOKENS:
                    found = (
                        f"the file has more tokens than {limits.nodes} IR nodes, the limit, need"
                    )
                    where = f"{source.filename}:{line}:{column + 1}"
                    raise LimitError("E503", f"{found}; make it shorter", where)
            if token.type == tokenize.COMMENT:
                alone = not source.lines[line - 1][:column].strip()
                source.comments.append(Comment(token.string.rstrip(), line, alone))
            elif token.type == tokenize.NUMBER:
                _check_number(token, source, limits)
            elif not token.string.isascii() and token.string.isidentifier():
                found = f"the name `{shown(token.string)}` has letters outside ASCII"
                report.unknown.add(unicodedata.normalize("NFKC", token.string))
                report.add("E105", f"{found}; use a-z, A-Z, 0-9 and _", SourceLoc(line, column + 1))
    except (tokenize.TokenError, SyntaxError):
        return  # Python's parser stops at the same place, with a better message


def _check_number(token: tokenize.TokenInfo, source: Source, limits: Limits) -> None:
    text = token.string.replace("_", "").lower()
    base = {"0x": 16, "0o": 8, "0b": 2}.get(text[:2], 10)
    digits = text if base == 10 else text[2:]
    if not digits.isalnum() or (base == 10 and not digits.isdigit()):
        return  # a float, or no number: the parser says so
    digits = digits.lstrip("0")
    try:
        too_large = len(digits) > 64 or (digits != "" and int(digits, base) > limits.literal)
    except ValueError:
        return
    if too_large:
        found = f"the integer {shown(token.string, 24)} is larger than {limits.literal}, the limit"
        where = f"{source.filename}:{token.start[0]}:{token.start[1] + 1}"
        raise LimitError("E504", f"{found}; use a smaller number", where)
