"""The printed form: golden kernels, comments, and that printing settles at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from m890sim.kernel import digest, ir, print_kernel
from m890sim.kernel.printer import WIDTH, print_head, print_operand
from m890sim.language import check, load_kernel, parse
from tests.language.strategies import kernels

HERE = Path(__file__).parent
SOURCES = sorted((HERE / "kernels").glob("*.py"))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(kernels())
def test_parse_inverts_print(kernel: ir.Kernel) -> None:
    check(kernel)
    text = print_kernel(kernel)
    actual = parse(text)
    assert actual == kernel
    assert print_kernel(actual) == text
    assert digest(actual) == digest(kernel)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_printed_kernel_is_golden(path: Path, golden: Callable[[Path, str], None]) -> None:
    kernel = load_kernel(path)
    text = print_kernel(kernel)
    golden(HERE / "golden" / f"{path.stem}.txt", text)
    assert parse(text) == kernel
    assert print_kernel(parse(text)) == text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_comment_survives(path: Path) -> None:
    kernel = load_kernel(path)
    printed = print_kernel(kernel)
    comments = [
        line[line.index("#") :].strip()
        for line in path.read_text("utf-8").splitlines()
        if "#" in line
    ]
    assert [text for text in comments if text not in printed] == []


def test_calls_are_split_at_commas() -> None:
    text = print_kernel(load_kernel(HERE / "kernels" / "long_lines.py"))
    long = [line for line in text.splitlines() if len(line.split("  #")[0]) > WIDTH]
    # An expression and a piece of a tensor have no comma to split at.
    assert [line.split()[0] for line in long] == ["t", "first_tensor[pages[block"]


def one_phase(lines: str) -> str:
    body = "".join(f"        {line}\n" for line in lines.splitlines())
    return (
        "from m890sim.lang import *\n\n\n@kernel\n"
        f'def k(x: Tensor["T", 16], n: Size):\n    for i in cores(T):\n{body}'
    )


def test_digest_ignores_comments_and_docstring() -> None:
    plain = parse(one_phase("fence()"))
    noted = parse(one_phase("fence()  # note").replace("    for", '    """Doc."""\n    for', 1))
    assert plain != noted
    assert digest(plain) == digest(noted)
    assert digest(plain) != digest(parse(one_phase("fence()\nfence()")))


def test_defaults_are_left_out() -> None:
    lines = """\
a = sram(16, 16, bf16, slots=1)
s = acc(16, 16, f32)
load(a, x[0:16, :], queue=0)
matmul(s, a, a.T, accumulate=False)
causal_mask(s, group=1, col=0, row=i)
exp2(a, s, engine=sfu, bias=1, scale=2)
copy(a, s, engine=vector)"""
    expected = """\
a = sram(16, 16, bf16)
s = acc(16, 16)
load(a, x[0:16, :])
matmul(s, a, a.T)
causal_mask(s, row=i, col=0)
exp2(a, s, scale=2.0, bias=1.0)
copy(a, s)"""
    assert print_kernel(parse(one_phase(lines))) == one_phase(expected)


def test_ranges_are_short() -> None:
    lines = "for j in range(0, n, 1):\n    fence()\nfor j in range(1, n, 1):\n    fence()"
    expected = "for j in range(n):\n    fence()\nfor j in range(1, n):\n    fence()"
    assert print_kernel(parse(one_phase(lines))) == one_phase(expected)


def test_empty_blocks_are_passes() -> None:
    lines = "if n:\n    pass\nelse:\n    pass\nfor j in range(n):\n    pass"
    kernel = parse(one_phase(lines))
    expected = "if n:\n    pass\nfor j in range(n):\n    pass"
    assert print_kernel(kernel) == one_phase(expected)


@pytest.mark.parametrize(
    "doc",
    ['ends in a quote"', '"""', "a\\", "a\n    b\n", "tab\tbell\a", "\r\n", "\u202e", "'", '\\"""'],
)
def test_docstring_survives(doc: str) -> None:
    kernel = parse(one_phase("fence()"))
    noted = ir.Kernel(kernel.name, kernel.params, kernel.body, doc)
    text = print_kernel(noted)
    assert parse(text) == noted
    assert print_kernel(parse(text)) == text


def test_line_endings_and_byte_order_mark_do_not_matter() -> None:
    text = one_phase("fence()  # note\nfence()")
    expected = parse(text)
    assert parse(text.replace("\n", "\r\n")) == expected
    assert parse(text.replace("\n", "\r")) == expected
    assert parse("\ufeff" + text) == expected
    assert parse(text.encode("utf-8-sig")) == expected
    assert parse(text.replace("    ", "\t")) == expected


def test_heads_and_operands_print_alone() -> None:
    kernel = parse(one_phase("for j in range(n):\n    if j > 1:\n        fence()"))
    heads = [print_head(stmt) for stmt in ir.walk(kernel.body)]
    expected = ["for i in cores(T):", "for j in range(n):", "if j > 1:", "fence()"]
    assert heads == expected
    piece = ir.TileRef("a", ir.Slice(None, ir.Name("n")), transposed=True)
    assert print_operand(piece) == "a[:n].T"
    assert print_operand(ir.Op("-", (ir.Const(0), ir.Name("inf")))) == "-inf"


def test_places_count_characters() -> None:
    kernel = parse(one_phase("a = sram(16, 16, bf16)  # ä\nfill(a, 0.0); fence()  # ö"))
    stmt = kernel.phases[0].body[2]
    assert (stmt.loc.line, stmt.loc.column) == (8, 23)
