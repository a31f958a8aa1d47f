"""Messages that teach: each finding names what is meant, each advice is right where it is run."""

from __future__ import annotations

import ast
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.errors import LanguageError, LimitError
from m890sim.execute import run_kernel
from m890sim.isa import OPS
from m890sim.language import parse
from m890sim.language.advice import AdviceWriter, write
from m890sim.language.report import slips
from tests.language.test_idioms import N, run, values

HEAD = """from m890sim.lang import *


@kernel
def k(x: Tensor["T", "D"], y: Tensor["T", "D"], o: Tensor["T", "D"], scale: Scalar):
"""
BODY = """    for i in cores(ceil_div(T, 64)):
        a = sram(64, D, bf16)
        b = sram(64, D, bf16)
        load(a, x[i * 64 : i * 64 + 64, :])
        load(b, y[i * 64 : i * 64 + 64, :], queue=1)
"""
TAIL = """
        store(o[i * 64 : i * 64 + 64, :], a)
"""
TILE = "t: a further f32 tile of the same shape"
NO_VALUE = "gives no value: an instruction leaves its result in a tile"
SHAPE = (
    "a tensor's dimensions are integers of the kernel, by the names in its annotation "
    '(T and D for `Tensor["T", "D"]`); a tile has those of its declaration'
)


def errors(text: str) -> list[str]:
    """code and message of every error of a file."""
    with pytest.raises(LanguageError) as caught:
        parse(text)
    return [f"{found.code} {found.message}" for found in caught.value.diagnostics]


def error(line: str) -> str:
    """The one error of a line of a kernel."""
    (found,) = errors(f"{HEAD}{BODY}        {line}{TAIL}")
    return found


def in_params(params: str) -> list[str]:
    """The errors of a kernel with other parameters."""
    head = f"from m890sim.lang import *\n\n\n@kernel\ndef k({params}):\n"
    body = """    for i in cores(ceil_div(T, 64)):
        a = sram(64, D, bf16)
        load(a, x[i * 64 : i * 64 + 64, :])
        store(o[i * 64 : i * 64 + 64, :], a)
"""
    return errors(head + body)


SUM = "E204 `a + b` works on tiles, and tiles have no operators; "
NEW = "declare `c = sram(rows, columns, f32)` first, then "
LINES = {
    # Operators.
    "a = a + b": f"{SUM}write `add(a, a, b)`",
    "a += b": f"{SUM}write `add(a, a, b)`",
    "a[:32] += b[:32]": "E204 `a[:32] + b[:32]` works on tiles, and tiles have no operators; "
    "write `add(a[:32], a[:32], b[:32])`",
    "c = a + b": f"{SUM}{NEW}write `add(c, a, b)`",
    "a = a * b": "E204 `a * b` works on tiles, and tiles have no operators; write `mul(a, a, b)`",
    "a = -a": "E204 `-a` works on tiles, and tiles have no operators; write `mul(a, a, -1.0)`",
    "a = 2 * a": "E204 `2 * a` works on tiles, and tiles have no operators; write `mul(a, a, 2.0)`",
    "a = 1 - a": "E204 `1 - a` works on tiles, and tiles have no operators; "
    "write `fma(a, a, -1.0, 1.0)`",
    "c = 1 / a": "E204 `1 / a` works on tiles, and tiles have no operators; "
    f"{NEW}write `recip(c, a)`",
    "c = a * b + a": "E204 `a * b + a` works on tiles, and tiles have no operators; "
    f"{NEW}write `fma(c, a, b, a)`",
    "c = a ** 2": "E204 `a ** 2` works on tiles, and tiles have no operators; "
    f"{NEW}write `mul(c, a, a)`",
    "c = a @ b.T": "E204 `a @ b.T` works on tiles, and tiles have no operators; "
    f"{NEW}write `matmul(p, a, b.T)`, `copy(c, p)` (p: an accumulator, acc(rows, columns))",
    "a = a > b": "E204 `a > b` works on tiles, and tiles have no operators; write `sub(t, a, b)`, "
    f"`mul(t, t, 1e38)`, `max(t, t, 0.0)`, `min(a, t, 1.0)` ({TILE})",
    "c = a // b": "E204 `a // b` works on tiles, and tiles have no operators; "
    "compute it by instructions, one a line (`m890 isa` lists them)",
    "mul(a, a + b, 2.0)": f"{SUM}write `add(t, a, b)` ({TILE}) and give `t`",
    "mul(a, a, -b)": "E204 `-b` works on tiles, and tiles have no operators; "
    f"write `mul(t, b, -1.0)` ({TILE}) and give `t`",
    "o[0:64, :] = a * 2": "E204 `a * 2` works on tiles, and tiles have no operators; "
    f"write `mul(t, a, 2.0)`, `store(o[0:64, :], t)` ({TILE})",
    # Assignments.
    "a = b": "E204 `b` cannot be assigned: a name is no copy; write `copy(a, b)`",
    "a[:4] = b[:4]": "E204 `b[:4]` cannot be assigned: a name is no copy; "
    "write `copy(a[:4], b[:4])`",
    "a[:] = 0": "E204 a tile is not assigned to: an instruction fills it; write `fill(a[:], 0.0)`",
    "a = 0.0": "E204 a tile is not assigned to: an instruction fills it; write `fill(a, 0.0)`",
    "c = x[0:64, :]": "E204 `x[0:64, :]` cannot be assigned: a name is no copy; "
    "declare `c = sram(rows, columns, bf16)` first, then write `load(c, x[0:64, :])`",
    "o[0:64, :] = a": "E204 `a` cannot be assigned: a name is no copy; "
    "write `store(o[0:64, :], a)`",
    # Calls that are meant to give a value.
    "c = exp(a)": f"E108 `exp(...)` {NO_VALUE}; {NEW}write `exp(c, a)`",
    "c = exp(a, scale=scale)": f"E108 `exp(...)` {NO_VALUE}; {NEW}write `exp(c, a, scale=scale)`",
    "c = load(x[0:64, :])": f"E108 `load(...)` {NO_VALUE}; "
    "declare `c = sram(rows, columns, bf16)` first, then write `load(c, x[0:64, :])`",
    "c = np.exp(a - b)": f"E108 `np.exp(...)` {NO_VALUE}; "
    f"{NEW}write `sub(t, a, b)`, `exp(c, t)` ({TILE})",
    "c = a.max(axis=1)": f"E108 `a.max(...)` {NO_VALUE}; "
    "declare `c = sram(rows, 1, f32)` first, then write `row_max(c, a)`",
    "c = np.sum(a, axis=1)": "E108 `np.sum(...)` "
    f"{NO_VALUE}; declare `c = sram(rows, 1, f32)` first, then write `row_sum(c, a)`",
    "a = abs(a)": f"E108 `abs(...)` {NO_VALUE}; write `mul(t, a, -1.0)`, `max(a, a, t)` ({TILE})",
    "c = max(a, b)": f"E108 `max(...)` {NO_VALUE}; {NEW}write `max(c, a, b)`",
    "mul(a, exp(a), b)": f"E204 `exp(...)` {NO_VALUE}; write `exp(t, a)` ({TILE}) and give `t`",
    "c = store(a)": f"E108 `store(...)` {NO_VALUE}; "
    "write store(dst, src, queue=0) as a statement, with the result's tile first",
    # Names of others, called as instructions.
    "abs(a, b)": f"E205 `abs` is no instruction; write `mul(t, b, -1.0)`, `max(a, b, t)` ({TILE})",
    "sigmoid(a, a)": "E205 `sigmoid` is no instruction; "
    f"write `tanh(t, a, scale=0.5)`, `fma(a, t, 0.5, 0.5)` ({TILE})",
    "sqrt(a, a)": f"E205 `sqrt` is no instruction; write `rsqrt(t, a)`, `recip(a, t)` ({TILE})",
    "row_min(b[:, :1], a)": "E205 `row_min` is no instruction; write `mul(t, a, -1.0)`, "
    f"`row_max(b[:, :1], t)`, `mul(b[:, :1], b[:, :1], -1.0)` ({TILE})",
    "relu(a)": "E205 `relu` is no instruction; write `max(a, a, 0.0)`",
    "sort(a, a)": "E205 `sort` is no instruction; "
    "values never say where data goes: no instruction moves or counts by them",
    "print(a)": "E205 `print` is no instruction; "
    "a kernel prints nothing: store a tile to look at it, or see `m890 profile`",
    "barrier()": "E205 `barrier` is no instruction; the machine keeps the order of the text by "
    "itself; phases have a barrier between them, and fence() waits within a core",
    "frobnicate(a)": "E205 `frobnicate` is no instruction; `m890 isa` lists them, "
    "and the language has no functions",
    "matmull(a, a, b)": "E205 `matmull` is no instruction; did you mean `matmul`?",
    "np.add(a, a, b)": "E104 `np.add` is not part of the language; "
    "write `add(a, a, b)`: instructions are called by their names",
    "a.fill(0.0)": "E104 `a.fill` is not part of the language; "
    "write `fill(a, 0.0)`: instructions are called by their names",
    "tl.store(o, a, mask)": "E104 `tl.store` is not part of the language; "
    "write `store(dst, src, queue=0)`: instructions are called by their names",
    "tl.debug_barrier()": "E104 `tl.debug_barrier` is not part of the language; the machine keeps "
    "the order of the text by itself; phases have a barrier between them, and fence() waits "
    "within a core",
    # Integers.
    "n = x.shape[0]": f"E104 `.shape` is not part of the language; {SHAPE}",
    "n = len(x)": f"E108 `len(...)` is not part of the language; {SHAPE}",
    "n = abs(i - 3)": "E104 `abs(...)` cannot be assigned; write max(n, 0 - n)",
    "n = triton.cdiv(T, 64)": "E104 `triton.cdiv` is not part of the language; "
    "write ceil_div(a, b)",
    "mul(a, a, 1 / sqrt(128))": "E104 the call of `sqrt` cannot stand in an expression; floats are "
    "given at launch: compute it beforehand and pass it as a Scalar parameter",
    "n = T // cores": "E201 `cores` is a word of the language and has no value here; how many "
    "cores there are belongs to the chip, and no kernel needs it: `for i in cores(n):` spreads n "
    "work items over them",
    "add(a, a, exp)": "E201 `exp` is a word of the language and has no value here; it is an "
    "instruction: write exp(dst, src, scale=, bias=, row_sum=) on a line of its own",
    "mul(a, a, sclae)": "E201 `sclae` is not defined; did you mean `scale`?",
    "mul(a, a, z)": "E201 `z` is not defined; define it before this line",
    # As in Python: names of arguments, tuples, elements, running values.
    "load(dst=a, src=x[:64, :])": "E207 operands of load are written without names; "
    "write `load(a, x[:64, :])`",
    "load(a, src=x[:64, :], queue=1)": "E207 operands of load are written without names; "
    "write `load(a, x[:64, :], queue=1)`",
    "c = sram((64, D), dtype=bf16)": "E108 `c` is declared with names or a tuple for its "
    "arguments; write `c = sram(64, D, bf16)`",
    "c = sram(rows=64, cols=D, dtype=torch.float32, slots=2)": "E108 `c` is declared with names or "
    "a tuple for its arguments; write `c = sram(64, D, f32, slots=2)`",
    "c = acc((64, 64))": "E108 `c` is declared with names or a tuple for its arguments; "
    "write `c = acc(64, 64)`",
    "exp(a, a, row_sum=True)": "E204 `row_sum=` of exp takes a tile; "
    "write `row_sum=r`, r being sram(rows, 1, f32)",
    "a[0, 3] = 1": "E204 a tile is not assigned to: an instruction fills it; "
    "write `fill(a[0:1, 3:4], 1.0)`",
    "o[i, :] = a[i]": "E204 `a[i]` cannot be assigned: a name is no copy; "
    "write `copy(t, a[i : i + 1])`, `store(o[i, :], t)` (t: a further f32 tile of the same shape)",
    "c = zeros(64, 64)": "E108 `zeros(...)` gives no value; "
    "declare `c = sram(rows, columns, f32)` first, then write `fill(c, 0.0)`",
    "acc = zeros(64, 64)": "E108 `zeros(...)` gives no value; "
    "declare `acc_tile = sram(rows, columns, f32)` first, then write `fill(acc_tile, 0.0)`",
    "c = 0.0": "E227 the float 0.0 stands in an integer expression; write an integer, or, for "
    "values that change, declare `c = sram(rows, 1, f32)` and fill it",
    "c = a if i > 2 else b": "E204 `a if i > 2 else b` works on tiles, and tiles have no "
    "operators; write `if i > 2:` with `copy(c, a)` in it, and `copy(c, b)` below `else:`",
    "c = 1 / np.sqrt(a)": "E204 `1 / np.sqrt(a)` works on tiles, and tiles have no operators; "
    f"{NEW}write `rsqrt(c, a)`",
    'n = "T" + 1': "E110 a string cannot stand here; write T without quotes",
    "n = tl.program_id(0)": "E104 `tl.program_id` is not part of the language; "
    "`for i in cores(n):` gives each work item its number",
    # Operands where they cannot be.
    "mul(a, 2.0, a)": "E204 `2.0` is no tile, `a` of mul must be one; "
    "write the tile first: `mul(a, a, 2.0)`",
    "sub(a, scale, a)": "E204 `scale` is a float, `a` of sub must be a tile; "
    "write `fma(a, a, -1.0, scale)`",
    "div(a, 1.0, b)": "E204 `1.0` is no tile, `a` of div must be one; "
    "write `recip(dst, b)`, then `mul(dst, dst, a)` with the float for a",
    "matmul(a, b, b)": "E208 `a` lies in SRAM, `dst` of matmul must lie in ACC; "
    "declare it with acc(rows, columns)",
    "load(a, x[i])": "E213 `x` has 2 dimensions, here it has 1 indices; write `x[i, :]`",
    "c = 1 / np.sqrt(a.sum(axis=1))": "E204 `1 / np.sqrt(a.sum(axis=1))` works on tiles, and tiles "
    "have no operators; declare `c = sram(rows, 1, f32)` first, then write `row_sum(r, a)`, "
    "`rsqrt(c, r)` (r: a column, sram(rows, 1, f32))",
    "c = a.sum(axis=1) / D": "E204 `a.sum(axis=1) / D` works on tiles, and tiles have no "
    "operators; declare `c = sram(rows, 1, f32)` first, then write `row_sum(r, a)`, `div(c, r, D)` "
    "(r: a column, sram(rows, 1, f32); D is an integer: pass it as a Scalar parameter too)",
    "c = a / np.sqrt(b)": "E204 `a / np.sqrt(b)` works on tiles, and tiles have no operators; "
    f"{NEW}write `rsqrt(t, b)`, `mul(c, a, t)` ({TILE})",
    "a[a < 0] = 0": "E204 a tile is not assigned to: an instruction fills it; an index is no mask: "
    "choose by a tile of 1 and 0, as in `where` of docs/language.md, Idioms",
    "o[i, :] += a": "E204 `o[i, :]` is changed in place: a tensor is loaded or stored; "
    "add up in a tile and store it once (column_sums in docs/language.md)",
    "c = x[i]": "E204 `x[i]` cannot be assigned: a name is no copy; "
    "declare `c = sram(rows, columns, bf16)` first, then write `load(c, x[i])`",
    "store(o[:64, :], a.T)": "E214 `src` of store takes no `.T`; "
    "write the instruction `transpose(t, a)`, and store takes `t`",
    "clip(a, a, 0, 6)": "E205 `clip` is no instruction; write `max(t, a, 0.0)`, `min(a, t, 6.0)` "
    f"({TILE}; b and c are the bounds, floats too)",
    # Settings.
    "load(a, x[0:64, :], queue=16)": "E217 `queue` of load is 16, no chip has more than queues 0 "
    "to 15; how many there are depends on the chip: m890 has 0 to 3, `m890 chips` lists others",
    "add(a, a, b, axis=0)": "E207 add has no keyword `axis`; row_max and row_sum go "
    "along rows (axis 1), col_max and col_sum along columns (axis 0)",
    "exp2(a, b, base=2)": "E207 exp2 has no keyword `base`; "
    "its keywords are: scale, bias, row_sum, engine",
    "exp2(a)": "E206 exp2 is called with 1 operands, it takes 2; "
    "write exp2(dst, src, scale=, bias=, row_sum=, engine=sfu)",
}


@pytest.mark.parametrize("line", LINES)
def test_line_is_answered_with_what_to_write(line: str) -> None:
    assert error(line) == LINES[line]


@pytest.mark.parametrize("line", [line for line in LINES if re.match(r"a(\[.*\])? \W?= ", line)])
def test_advice_is_a_right_kernel(line: str) -> None:
    """Where a tile is assigned to, the advice stands for the whole line."""
    lines = re.findall(r"`(\w+\([^`]*\))`", LINES[line].split("; ", 1)[1])
    if not lines:
        return
    declared = "t = sram(64, D, f32)\n        "
    text = f"{HEAD}{BODY}        {declared}" + "\n        ".join(lines) + TAIL
    rng = np.random.default_rng(0)
    x, y = (rng.integers(1, 9, (64, 32)).astype(np.float32) / 4 for _ in "xy")
    found = run_kernel(parse(text), {"T": 64, "D": 32}, {}, {"scale": 1.0}, {"x": x, "y": y})["o"]
    scope = {"a": x.copy(), "b": y.copy(), "abs": np.abs}
    exec(line, {}, scope)
    expected = np.broadcast_to(scope["a"], x.shape).astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=0.01)


@pytest.mark.parametrize("condition", ["a > 0.0", "not a", "a"])
def test_condition_on_values_is_refused(condition: str) -> None:
    assert error(f"if {condition}:\n            fill(a, 0.0)") == (
        f"E204 the condition `{condition}` asks for values in a tile; values never decide what "
        "runs: compute both sides and choose by a mask, as in `where` of docs/language.md, Idioms"
    )


HELPER = """from m890sim.lang import *


def twice(dst, src):
    add(dst, src, src)


"""


def test_helper_function_is_named_once() -> None:
    text = HELPER + (HEAD + BODY).split("\n\n\n", 1)[1] + "        twice(a, b)" + TAIL
    assert errors(text) == [
        "E106 the language has no functions, and `twice` is one; "
        "write its instructions where it is called"
    ]


def test_helper_function_below_the_kernel_is_named_too() -> None:
    below = "\n\ndef twice(dst, src):\n    add(dst, src, src)\n"
    assert errors(HEAD + BODY + "        c = twice(a)" + TAIL + below) == [
        "E104 `twice(...)` cannot be assigned; what can is sram, acc, hbm, min, max, ceil_div",
        "E106 the language has no functions, and `twice` is one; "
        "write its instructions where it is called",
    ]


def test_function_inside_the_kernel_is_named_once() -> None:
    inner = "def twice(dst, src):\n            add(dst, src, src)\n\n        twice(a, b)"
    assert error(inner) == (
        "E104 a function inside the kernel is not part of the language; "
        "the language has no functions: write its instructions where it is called"
    )


def indented(text: str) -> str:
    return re.sub(r"^(?=.)", "    ", text, flags=re.M)


def test_loop_around_phases_is_named_once() -> None:
    assert errors(HEAD + "    for step in range(3):\n" + indented(BODY + TAIL.strip("\n"))) == [
        "E219 a loop stands around a phase, and phases cannot repeat; write the phases out one "
        "after the other, or put the loop into the phase, `for ... in cores(...)` around it"
    ]


def test_if_around_a_phase_is_named_once() -> None:
    assert errors(HEAD + "    if T > 64:\n" + indented(BODY + TAIL.strip("\n"))) == [
        "E219 an `if` stands around a phase, and every phase runs; "
        "put it into the phase: around what is inside `for ... in cores(...)`"
    ]


def test_phase_inside_a_phase_is_named_once() -> None:
    assert error("for j in cores(4):\n            fill(a, 0.0)") == (
        "E219 a phase stands inside a phase, and phases cannot nest; give one phase two extents, "
        "`for i, j in cores(n, m):`, or use range(...)"
    )


FIRST = 'o: Tensor["T", "D"]'


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            "x, o",
            [
                "the parameter `x` has no annotation; write one of Tensor, Table, Scalar, Size, "
                'Tunable after a colon, as in `x: Tensor["T", "D"]`',
                "the parameter `o` has no annotation; write one of Tensor, Table, Scalar, Size, "
                'Tunable after a colon, as in `x: Tensor["T", "D"]`',
            ],
        ),
        (
            "x: np.ndarray, o: torch.Tensor",
            [
                '`np.ndarray` is no kind of parameter; write Tensor["T", "D"], its dimensions as '
                "strings",
                '`torch.Tensor` is no kind of parameter; write Tensor["T", "D"], its dimensions '
                "as strings",
            ],
        ),
        (
            f'x: Tensor["T", "D"], {FIRST}, n: int',
            [
                "`int` is no kind of parameter; write Size for an integer that the launch gives, "
                "Tunable for a constant with a default"
            ],
        ),
        (
            f'x: Tensor["T", "D"], {FIRST}, s: float',
            ["`float` is no kind of parameter; write Scalar for a float that the launch gives"],
        ),
        (
            f'x: Tensor["T", "D"], {FIRST}, B: tl.constexpr = 4',
            [
                "`tl.constexpr` is no kind of parameter; "
                "write Tunable, with a default: `B: Tunable = 128`"
            ],
        ),
        (
            f'x: Tensor["T", "D"], {FIRST}, B=64',
            ["the parameter `B` has no annotation; write `B: Tunable = 64`"],
        ),
    ],
)
def test_bad_parameter_is_reported_without_its_consequences(
    params: str, expected: list[str]
) -> None:
    assert in_params(params) == [f"E107 {message}" for message in expected]


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (
            "T, D",
            "`D` is neither a dtype (f32, bf16, f16, f8e4m3) nor a dimension; write "
            'dimensions as strings, as in "D"',
        ),
        (
            '"T", "D", float32',
            "`float32` is neither a dtype (f32, bf16, f16, f8e4m3) nor a dimension; write f32",
        ),
        (
            '"T", "D", int32',
            "`int32` is neither a dtype (f32, bf16, f16, f8e4m3) nor a dimension; "
            'values in HBM are floats; integers come in a launch table: `Table["N"]`',
        ),
    ],
)
def test_bad_dimension_is_reported_without_its_consequences(dims: str, expected: str) -> None:
    assert in_params(f'x: Tensor[{dims}], o: Tensor["N", "K"]') == [f"E230 {expected}"]


@pytest.mark.parametrize("name", OPS)
def test_signature_names_every_keyword(name: str) -> None:
    row = OPS[name]
    wrong = "" if [o for o in row.operands if not o.keyword] else "a"
    (message,) = [
        found
        for found in errors(f"{HEAD}{BODY}        {name}({wrong}){TAIL}")
        if found.startswith("E206")
    ]
    keywords = [o.name for o in row.operands if o.keyword] + [s.name for s in row.settings]
    keywords += ["engine"] if len(row.engines) > 1 else []
    assert re.findall(r"(\w+)=", message) == keywords


@pytest.mark.parametrize(
    ("word", "name", "expected"),
    [
        ("matmul", "matmul", 0),
        ("Matmul", "matmul", 0),
        ("rowmax", "row_max", 0),
        ("matmull", "matmul", 1),
        ("mtmul", "matmul", 1),
        ("trasnpose", "transpose", 1),
        ("row_mean", "row_max", 2),
        ("sin", "min", 1),
        ("softmax", "max", 3),
    ],
)
def test_slips_between_words(word: str, name: str, expected: int) -> None:
    assert slips(word, name) == slips(name, word) == expected


@pytest.mark.parametrize("name", ["sum_rows", "foo", "sup", "mov2", "row_men", "logg"])
def test_other_words_are_not_taken_for_instructions(name: str) -> None:
    found = error(f"{name}(a, a)")
    guess = re.search(r"did you mean `(\w+)`", found)
    assert guess is None or slips(name, guess[1]) <= 1


ATOMS = st.sampled_from(["a", "b", "c", "2", "0.5", "scale"])
OPERATORS = st.sampled_from(["+", "-", "*", "/"])


def _joined(parts: tuple[str, str, str]) -> str:
    return f"({parts[0]} {parts[1]} {parts[2]})"


EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, OPERATORS, inner).map(_joined),
        inner.map("(-{})".format),
        st.sampled_from(["abs", "np.maximum", "np.tanh"]).flatmap(
            lambda name: st.tuples(inner, inner).map(
                lambda pair: f"{name}({', '.join(pair if name.endswith('mum') else pair[:1])})"
            )
        ),
    ),
    max_leaves=5,
)


@settings(deadline=None)
@given(text=EXPRESSIONS)
def test_lines_for_an_expression_are_what_numpy_makes_of_it(text: str) -> None:
    node = ast.parse(text.replace("scale", "0.75"), mode="eval").body
    tiles = {"a", "b", "c"}
    writer = AdviceWriter(tiles, frozenset(), set(tiles))
    if not write(writer, node, "dst"):
        return
    x: dict[str, Any] = {tile: np.abs(array) + 0.5 for tile, array in values("plus").items()}
    declared = [f"{name} = sram({N}, {N}, f32)" for name in writer.legend if name not in "tu"]
    actual = run((*declared, *writer.lines), "dst", x)
    numbers = {name: array.astype(float) for name, array in x.items()}
    with np.errstate(all="ignore"):
        expected = eval(ast.unparse(node), {"np": np, "abs": np.abs}, numbers)
    expected = np.broadcast_to(expected, (N, N))
    sane = np.isfinite(expected) & (np.abs(expected) < 1e4)
    # Differences of near numbers lose digits: bounds against the largest number there is.
    np.testing.assert_allclose(actual[sane], expected[sane], rtol=1e-3, atol=2e-2)


PYTHON = st.recursive(
    st.sampled_from(["a", "b", "x", "o", "i", "T", "1", "2.5", "scale", "a.T", "x[i]", "a[0, i]"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "//", "@", "**", "<", "and", "|"]), inner).map(
            _joined
        ),
        inner.map("not ({})".format),
        inner.map("f'{{{}}}'".format),
        inner.map("[{}]".format),
        inner.map("lambda: {}".format),
        st.tuples(inner, inner, inner).map("({0[0]} if {0[1]} else {0[2]})".format),
        st.tuples(
            st.sampled_from(["exp", "abs", "np.sum", "sram", "len", "foo", "a.max"]), inner
        ).map("{0[0]}({0[1]}, axis=1)".format),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    text=PYTHON,
    line=st.sampled_from(
        [
            "c = {}",
            "a = {}",
            "a[:4] = {}",
            "o[:] = {}",
            "a += {}",
            "exp(a, {})",
            "np.exp({})",
            "foo({})",
            "if {}: pass",
            "for j in range({}): pass",
        ]
    ),
)
def test_any_python_is_answered_in_words(text: str, line: str) -> None:
    body = line.format(text)
    try:
        parse(f"{HEAD}{BODY}        {body}{TAIL}")
    except (LanguageError, LimitError) as error:
        assert ("<error>" not in str(error) and str(error).isprintable()) or "\n" in str(error)


def test_names_that_get_values_are_tiles_from_there_on() -> None:
    lines = ["m = a.max(axis=1)", "e = np.exp(a - m)", "c = e / e.sum()", "store(o[:64, :], c)"]
    found = errors(HEAD + BODY + "".join(f"        {line}\n" for line in lines) + TAIL)
    assert [message.rsplit(" first, then ", 1)[1] for message in found] == [
        "write `row_max(m, a)`",
        f"write `sub(t, a, m)`, `exp(e, t)` ({TILE})",
        "write `row_sum(r, e)`, `div(c, e, r)` (r: a column, sram(rows, 1, f32))",
    ]


def test_constants_above_the_kernel_are_parameters() -> None:
    text = HEAD.replace("@kernel", "N = 16\nEPS = 1e-6\nM = N * 2\n\n\n@kernel")
    assert errors(text + BODY + "        n = N + M" + TAIL) == [
        "E106 a statement outside the kernel is not part of the language; "
        "write a parameter, `N: Tunable = 16`",
        "E106 a statement outside the kernel is not part of the language; "
        "write the number where it is used, or a parameter `EPS: Scalar`",
        "E106 a statement outside the kernel is not part of the language; compute it in the kernel",
    ]


def test_order_without_quotes() -> None:
    text = HEAD + BODY.replace("64)):", "64), order=snake):") + TAIL
    assert errors(text) == [
        'E224 the order of work must be written as a string; write order="snake"'
    ]


def test_operands_of_store_the_wrong_way_round() -> None:
    assert "store(dst, src) takes the tensor first" in "".join(
        errors(f"{HEAD}{BODY}        store(a, o[:64, :]){TAIL}")
    )


def test_tile_outside_a_phase_says_what_work_items_share() -> None:
    text = HEAD + "    total = acc(64, D)\n" + BODY + TAIL
    assert errors(text) == [
        "E219 a tile stands outside a phase; put it inside `for ... in cores(...)`: "
        "work items share nothing but HBM scratch, hbm(...)"
    ]


def test_suggestion_is_of_the_kind_that_is_due() -> None:
    """`T` is an integer: no tile that is misspelt is meant to be it."""
    assert error("copy(t, a)") == "E201 `t` is not defined; define it before this line"
    assert error("n = t + 1") == "E201 `t` is not defined; did you mean `T`?"


def test_tile_of_another_block_is_told_once() -> None:
    lines = "if i > 2:\n            c = sram(64, D, bf16)\n        copy(c, a)\n        copy(c, a)"
    assert error(lines) == (
        "E201 `c` is not visible here: it belongs to another block or comes later; "
        "it is defined in line 12; define it before, in a block around this one"
    )
