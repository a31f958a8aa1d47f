"""A source as lines: what a reader sees who knows Python's look, and nothing of what it means."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

STEP = 4  # columns of a block


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One statement, or the head of a block, on one line."""

    depth: int  # blocks around it
    text: str  # without indentation

    @property
    def is_head(self) -> bool:
        """Whether a block follows."""
        return self.text.endswith(":")

    @property
    def call(self) -> ast.Call | None:
        """The call that it consists of, that it assigns, or that a loop runs over."""
        return _call(self.text)

    @property
    def callee(self) -> str:
        """The name that is called, "" for other lines."""
        call = self.call
        return call.func.id if call is not None and isinstance(call.func, ast.Name) else ""

    @property
    def target(self) -> str:
        """The name that is assigned, "" for other lines."""
        found = re.match(r"([A-Za-z_]\w*) = ", self.text)
        return found[1] if found else ""

    @property
    def names(self) -> set[str]:
        """Every name in it."""
        return set(re.findall(r"[A-Za-z_]\w*", self.text))

    @property
    def arguments(self) -> list[str]:
        """The operands of the call, without keywords."""
        call = self.call
        return [] if call is None else [ast.unparse(each) for each in call.args]


Lines = list[SourceLine]


def read(source: str) -> Lines:
    """The statements of a source, comments left out, each on one line."""
    found: Lines = []
    words: list[tokenize.TokenInfo] = []
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.INDENT:
            depth += 1
        elif token.type == tokenize.DEDENT:
            depth -= 1
        elif token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if words:
                found.append(SourceLine(depth, _joined(words)))
            words = []
        elif token.type not in (tokenize.NL, tokenize.COMMENT):
            words.append(token)
    return found


def _joined(words: list[tokenize.TokenInfo]) -> str:
    """Tokens as they stood; what was on several lines goes on one."""
    text = ""
    for before, word in zip([None, *words], words, strict=False):
        if before is not None and before.end[0] == word.start[0]:
            text += " " * (word.start[1] - before.end[1])
        elif before is not None and before.string == ",":
            text += " "
        text += word.string
    return re.sub(r", ?([)\]])", r"\1", text)


def write(lines: Iterable[SourceLine]) -> str:
    """The source again."""
    return "".join(f"{' ' * STEP * line.depth}{line.text}\n" for line in lines)


def _call(text: str) -> ast.Call | None:
    if text.startswith(("def ", "class ", "@", "else", "elif ")):
        return None
    try:
        node = ast.parse(f"{text} pass" if text.endswith(":") else text).body[0]
    except (SyntaxError, IndexError):
        return None
    value = (
        node.iter
        if isinstance(node, ast.For)
        else node.value
        if isinstance(node, (ast.Expr, ast.Assign))
        else None
    )
    return value if isinstance(value, ast.Call) else None


def with_keyword(line: SourceLine, name: str, value: str | None) -> SourceLine:
    """The line with a keyword of its call set, or taken away where value is None."""
    call = line.call
    if call is None:
        return line
    kept = [each for each in call.keywords if each.arg != name]
    if value is not None:
        kept.append(ast.keyword(name, ast.parse(value, mode="eval").body))
    made = ast.unparse(ast.Call(call.func, call.args, kept))
    # What Python writes may differ from what stood there: put it in the call's place.
    start, end = _span(line.text, call)
    return SourceLine(line.depth, line.text[:start] + made + line.text[end:])


def _span(text: str, call: ast.Call) -> tuple[int, int]:
    data = text.encode("utf-8")
    assert call.end_col_offset is not None
    return (
        len(data[: call.col_offset].decode("utf-8")),
        len(data[: call.end_col_offset].decode("utf-8")),
    )


def keyword(line: SourceLine, name: str) -> str:
    """The value of a keyword of its call, "" where it has none."""
    call = line.call
    for each in call.keywords if call is not None else ():
        if each.arg == name:
            return ast.unparse(each.value)
    return ""


def body(lines: Lines, head: int) -> range:
    """The lines of the block below a head."""
    end = head + 1
    while end < len(lines) and lines[end].depth > lines[head].depth:
        end += 1
    return range(head + 1, end)


def loops(lines: Lines) -> Iterator[int]:
    """Heads of loops, the inner ones first."""
    heads = [n for n, line in enumerate(lines) if line.text.startswith("for ")]
    yield from sorted(heads, key=lambda n: -lines[n].depth)
