"""What a run refuses: every code, its place and what its message says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from m890sim.errors import CODES, BindError, CodedError, ExecutionError, LimitError
from m890sim.execute import execute_kernel, run_kernel
from m890sim.kernel import ir
from m890sim.language import Limits
from tests.execute.texts import kernel_of, randoms

PARAMS = (
    'x: Tensor["T", "D", f32], z: Tensor["T", "D", f32], t: Table["N"], '
    "n: Size, d: Size, B: Tunable = 8"
)
X = randoms((20, 4))
TABLE = np.array([3, 1, 19, 20, -1], np.int64)
TILE = "a = sram(B, D, f32)\n    "
LOADED = TILE + "load(a, x[:B, :])\n    "
SCRATCH = "h = hbm(T, D, f32)\n"


def refused(body: str, n: int = 0, d: int = 1, item: str = "i in cores(1)", head: str = "") -> Any:
    """The error of a kernel whose items run `body`, its second statement in line 8."""
    kernel = kernel_of(PARAMS, f"{head}for {item}:\n    {body}")
    with pytest.raises(CodedError) as caught:
        run(kernel, n, d)
    return caught.value


def run(kernel: ir.Kernel, n: int = 0, d: int = 1, **rest: Any) -> Any:
    symbols = {"T": 20, "D": 4, "N": len(TABLE), "n": n, "d": d}
    return execute_kernel(kernel, symbols, {"t": TABLE}, {}, {"x": X}, **rest)


CASES = {
    # what: (body, n, code, line, pieces of the message)
    "unwritten rows of a tile": (
        TILE + "load(a[: n + 0], x[: n + 0, :])\n    store(z[:B, :], a)",
        5,
        "E401",
        9,
        ['tile "a" (8 x 4)', "rows 0:8", "rows 5 to 7", "work item i=0", "store"],
    ),
    "an unwritten column": (
        TILE + "fill(a[:, :3], 0.0)\n    fill(a[:7, 3:], 0.0)\n    add(a, a, 1.0)",
        0,
        "E401",
        10,
        ['tile "a"', "elements of row 7 were", "add"],
    ),
    "every other row": (
        TILE + "fill(a[::2], 0.0)\n    copy(a, a)",
        0,
        "E401",
        9,
        ["rows 1, 3, 5, 7 "],
    ),
    "an unwritten accumulator": (
        LOADED + "c = acc(B, B)\n    fill(c[:n], 0.0)\n    matmul(c, a, a.T, accumulate=True)",
        3,
        "E401",
        11,
        ['tile "c"', "matmul"],
    ),
    "a tile of the last iteration": (
        "for j in range(0, n):\n        a = sram(B, D, f32)\n        if j == 0:\n"
        "            fill(a, 0.0)\n        store(z[:B, :], a)",
        2,
        "E401",
        11,
        ["i=0, j=1"],
    ),
    "a slice beyond its tile": (
        LOADED + "store(z[: n, :], a[: n])",
        9,
        "E403",
        9,
        ['rows 0:9 of tile "a"', "beyond its 8 rows"],
    ),
    "columns beyond a tile": (LOADED + "fill(a[:, n : n + 1], 0.0)", 4, "E403", 9, ["columns 4:5"]),
    "a negative tile extent": (LOADED + "fill(a[n:1], 0.0)", 3, "E405", 9, ["3:1", "extent -2"]),
    "a slice beyond its tensor": (
        TILE + "load(a, x[n : n + B, :])",
        13,
        "E404",
        8,
        ['slice 13:21 of dimension 0 of "x"', "20 elements"],
    ),
    "an index beyond its tensor": (TILE + "load(a[:1], x[n, :])", 20, "E404", 8, ["index 20"]),
    "a negative index": (TILE + "load(a[:1], x[n - 1, :])", 0, "E404", 8, ["index -1"]),
    "a negative tensor extent": (TILE + "load(a[:0], x[n:1, :])", 3, "E405", 8, ["extent -2"]),
    "extents that differ": (
        LOADED + "add(a[:n], a[:n], a[: n + 1])",
        3,
        "E406",
        9,
        ['b (tile "a") has 4 rows', 'dst (tile "a") has 3 rows'],
    ),
    "a load of another extent": (
        TILE + "load(a[:n], x[:5, :])",
        3,
        "E406",
        8,
        ['src ("x") has 5 rows', 'dst (tile "a") has 3 rows'],
    ),
    "a store of another extent": (
        LOADED + "store(z[:n, :], a[:2])",
        3,
        "E406",
        9,
        ['src (tile "a") has 2 rows', 'dst ("z") has 3 rows'],
    ),
    "a matmul of another extent": (
        LOADED + "c = acc(B, B)\n    matmul(c, a[:, :n], a.T)",
        3,
        "E406",
        10,
        ["b (tile", "4 rows", "3 columns"],
    ),
    "a table index beyond": (TILE + "load(a[:1], x[t[n], :])", 5, "E407", 8, ["t[5]", "5 entries"]),
    "a table slice beyond": (
        TILE + "load(a[:2], x[t[n : n + 2], :])",
        4,
        "E407",
        8,
        ["slice 4:6 of table t", "5 entries"],
    ),
    "a gather beyond its tensor": (
        TILE + "load(a[:2], x[t[n : n + 2], :])",
        2,
        "E408",
        8,
        ["t[3] names row 20", "20 rows"],
    ),
    "a negative page": (TILE + "load(a[:1], x[t[n : n + 1], :])", 4, "E408", 8, ["names row -1"]),
    "division by zero": (TILE + "fill(a[: 4 // n], 0.0)", 0, "E409", 8, ["`//` by zero"]),
    "remainder by zero": ("b = 4 % n", 0, "E409", 7, ["`%` by zero", "b ="]),
    "ceil_div by zero": ("b = ceil_div(4, n)", 0, "E409", 7, ["`ceil_div` by zero"]),
    "a huge product": (
        "b = n * n * n * n",
        2**30,
        "E410",
        7,
        ["64 bits", str(2**90)],
    ),
    "a group of none": (
        LOADED + "causal_mask(a, row=0, col=0, group=n)",
        0,
        "E415",
        9,
        ["group is 0"],
    ),
    "a row step of none": (LOADED + "fill(a[::n], 0.0)", 0, "E415", 9, ["row step", "is 0"]),
}


@pytest.mark.parametrize("what", CASES)
def test_error(what: str) -> None:
    body, n, code, line, pieces = CASES[what]
    error = refused(body, n)
    assert isinstance(error, ExecutionError)
    assert error.code == code
    assert error.where.startswith(f"f.py:{line}:"), str(error)
    for piece in pieces:
        assert piece in str(error)


@pytest.mark.parametrize(
    "body", ["fill(a[n:n], 0.0)", "load(a[n:n], x[n:n, :])", "store(z[n:n, :], a[n:n])"]
)
@pytest.mark.parametrize("n", [0, 8, 99])
def test_empty_pieces_are_legal_wherever_they_lie(body: str, n: int) -> None:
    done = run(kernel_of(PARAMS, f"for i in cores(1):\n    {TILE}{body}"), n)
    assert not done.written.get("z", np.zeros(1)).any()


def test_zero_trip_loops_and_empty_phases_run_nothing() -> None:
    body = "for j in range(0, n):\n        store(z[:B, :], a)"
    for count, instructions in (("n", 0), ("1", 1)):
        done = run(kernel_of(PARAMS, f"for i in cores({count}):\n    {LOADED}{body}"), 0)
        assert done.instructions == instructions
        assert not done.written["z"].any()
        assert np.isnan(done.outputs["z"]).all()


def test_statements_that_do_not_run_cannot_fail() -> None:
    body = "if n:\n        b = 1 // n\n        store(z[t[9] :, :], a[: 0 - n])"
    done = run(kernel_of(PARAMS, f"for i in cores(1):\n    {LOADED}{body}"))
    assert not done.written["z"].any()


# ---- HBM --------------------------------------------------------------------------------------


def test_reading_unwritten_scratch_traps() -> None:
    body = LOADED + "store(h[:4, :], a[:4])\n    load(a, h[:B, :])"
    error = refused(body, head=SCRATCH)
    assert (error.code, error.where[:8]) == ("E402", "f.py:11:")
    assert 'HBM scratch "h" is read at [4, 0] and 15 more elements' in str(error)


def test_scratch_of_an_unwritten_column_traps_exactly() -> None:
    body = (
        LOADED + "store(h[:B, :3], a[:, :3])\n    load(a[:, :3], h[:B, :3])\n    load(a, h[:B, :])"
    )
    error = refused(body, head=SCRATCH)
    assert (error.code, error.where[:8]) == ("E402", "f.py:12:")
    assert "[0, 3] and 7 more elements" in str(error)


def test_two_items_writing_one_element() -> None:
    error = refused(LOADED + "store(z[i * 7 : i * 7 + B, :], a)", item="i in cores(2)")
    assert (error.code, error.where[:7]) == ("E413", "f.py:9:")
    assert 'writes "z" at [7, 0] and 3 more elements, which work item i=0 wrote' in str(error)
    assert "(work item i=1)" in str(error)


def test_one_item_may_write_an_element_twice() -> None:
    body = LOADED + "store(z[:B, :], a)\n    store(z[2:5, :], a[:3])"
    z = run(kernel_of(PARAMS, f"for i in cores(1):\n    {body}")).outputs["z"]
    np.testing.assert_array_equal(z[2:5], X[:3])


def test_a_later_phase_may_write_and_read_what_an_earlier_one_wrote() -> None:
    phase = f"for i in cores(2):\n    {LOADED}store(h[:B, :], a)\n"
    error = refused(LOADED + "store(h[:B, :], a)", item="i in cores(2)", head=SCRATCH)
    assert error.code == "E413"
    phase = phase.replace("cores(2)", "cores(1)")
    read = f"for i in cores(2):\n    {TILE}load(a, h[:B, :])\n    store(z[i * B : i * B + B, :], a)"
    z = run(kernel_of(PARAMS, SCRATCH + phase + phase + read)).outputs["z"]
    np.testing.assert_array_equal(z[:16], np.concatenate([X[:8], X[:8]]))


def test_reading_what_another_item_wrote() -> None:
    body = LOADED + "store(h[i * B : i * B + B, :], a)\n    load(a[:1], h[0, :])"
    error = refused(body, item="i in cores(2)", head=SCRATCH)
    assert (error.code, error.where[:8]) == ("E414", "f.py:11:")
    assert 'reads "h" at [0, 0] and 3 more elements, which work item i=0 wrote' in str(error)


def phase_that_reads_before_a_write(readers: int) -> str:
    fill = f"for i in cores(1):\n    {LOADED}store(h[:B, :], a)\n"
    return (
        SCRATCH + fill + f"for i in cores({readers + 1}):\n    {LOADED}"
        f"if i < {readers}:\n        load(a[:1], h[3, :])\n"
        f"    if i == {readers}:\n        store(h[3:5, :], a[:2])\n"
    )


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_writing_what_another_item_read(readers: int) -> None:
    with pytest.raises(ExecutionError) as caught:
        run(kernel_of(PARAMS, phase_that_reads_before_a_write(readers)))
    assert caught.value.code == "E414"
    other = "work item i=0" if readers == 1 else "several work items"
    assert f'writes "h" at [3, 0] and 3 more elements, which {other} read' in str(caught.value)


def test_an_item_that_read_among_others_cannot_write() -> None:
    text = phase_that_reads_before_a_write(3).replace("if i == 3:", "if i == 2:")
    with pytest.raises(ExecutionError, match="which several work items read"):
        run(kernel_of(PARAMS, text))


def test_an_item_may_read_and_write_its_own_elements() -> None:
    body = (
        LOADED + "for j in range(0, 3):\n        store(h[i * B : i * B + B, :], a)\n"
        "        load(a, h[i * B : i * B + B, :])\n        add(a, a, 1.0)\n"
        "    store(z[i * B : i * B + B, :], a)"
    )
    z = run(kernel_of(PARAMS, f"{SCRATCH}for i in cores(2):\n    {body}")).outputs["z"]
    np.testing.assert_array_equal(z[8:16], X[:8] + np.float32(1) + np.float32(1) + np.float32(1))


def test_stores_through_a_table_are_tracked() -> None:
    body = LOADED + "store(z[t[:3], :], a[:3])\n    "
    kernel = kernel_of(PARAMS, f"for i in cores(1):\n    {body}")
    done = run(kernel)
    np.testing.assert_array_equal(done.outputs["z"][TABLE[:3]], X[:3])
    assert done.written["z"].sum() == 12
    assert np.isnan(done.outputs["z"][~done.written["z"]]).all()
    error = refused(LOADED + "store(z[t[i : i + 2], :], a[:2])", item="i in cores(2)")
    assert error.code == "E413"
    assert 'writes "z" at [1, 0] and 3 more elements' in str(error)


def test_gathers_of_every_rank() -> None:
    kernel = kernel_of(
        'c: Tensor["S", "H", "D", f32], z: Tensor["N", "H", "D", f32], '
        'y: Tensor["H", "N", f32], t: Table["N"]',
        """
        for i in cores(1):
            a = sram(N * H, D, f32)
            b = sram(H, N, f32)
            load(a, c[t[:N], :, :])
            store(z[:, :, :], a)
            for d in range(0, 1):
                load(b[:1], c[t[0:N], H - 1, d])
                load(b[1:], c[t[0:N], 0, d])
                store(y[0, :], b[:1])
                store(y[1, t[0:N]], b[1:])
        """,
    )
    c, t = randoms((6, 2, 3)), np.array([4, 0, 5, 2, 1, 3])
    done = run_kernel(kernel, {"S": 6, "H": 2, "D": 3, "N": 6}, {"t": t}, {}, {"c": c})
    np.testing.assert_array_equal(done["z"], c[t])
    np.testing.assert_array_equal(done["y"][0], c[t, 1, 0])
    np.testing.assert_array_equal(done["y"][1, t], c[t, 0, 0])


# ---- the launch -------------------------------------------------------------------------------

COPY = kernel_of(PARAMS, f"for i in cores(1):\n    {LOADED}store(z[:B, :], a)")


def launch(**changes: Any) -> Any:
    given = {
        "symbols": {"T": 20, "D": 4, "N": 5, "n": 0, "d": 1},
        "tables": {"t": TABLE},
        "scalars": {},
        "tensors": {"x": X},
    }
    return run_kernel(COPY, **{**given, **changes})


def test_stores_into_inputs_are_refused() -> None:
    with pytest.raises(ExecutionError, match=r'^f\.py:9:9: E411 store: "z" is an input') as caught:
        launch(tensors={"x": X, "z": X})
    assert caught.value.code == "E411"


def test_loads_of_what_the_launch_does_not_give_are_refused() -> None:
    with pytest.raises(ExecutionError, match=r'^f\.py:8:9: E412 load: "x" is an output'):
        launch(tensors={})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": {"T": 20}}, "gives no symbol or size D; it gives T"),
        ({"tables": {}}, "gives no table t; it gives none"),
        ({"tables": {"t": TABLE[:4]}}, r"shape \(4\), the kernel declares \(5\)"),
        ({"tables": {"t": TABLE[None]}}, "2 dimensions"),
        ({"tables": {"t": np.full(5, 2**31)}}, r"table t holds numbers of 2\*\*31 or more"),
        ({"tables": {"t": np.full(5, 2**63, "u8")}}, r"table t holds numbers of 2\*\*31 or more"),
        ({"symbols": {"T": 2**31, "D": 4, "N": 5, "n": 0, "d": 1}}, "T is 2147483648"),
        ({"tensors": {"x": X[:19]}}, r"shape \(19, 4\), the kernel declares \(20, 4\)"),
        ({"symbols": {"T": -20, "D": 4, "N": 5, "n": 0, "d": 1}}, "T is -20"),
    ],
)
def test_a_launch_that_does_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BindError, match=message) as caught:
        launch(**changes)
    assert caught.value.code == "E304"


@pytest.mark.parametrize(
    "changes",
    [
        {"symbols": {"T": 20.0, "D": 4, "N": 5, "n": 0, "d": 1}},
        {"symbols": {"T": True, "D": 4, "N": 5, "n": 0, "d": 1}},
        {"tables": {"t": TABLE.astype(float)}},
    ],
)
def test_a_launch_of_wrong_types(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        launch(**changes)


def test_names_that_the_kernel_does_not_have_are_ignored() -> None:
    launch(scalars={"scale": 2.0}, tables={"t": TABLE, "u": TABLE}, tensors={"x": X, "k": X})


# ---- limits -----------------------------------------------------------------------------------


def test_instructions_are_counted_and_limited() -> None:
    done = run(COPY)
    assert done.instructions == 2
    run(COPY, limits=Limits(instructions=2))
    with pytest.raises(LimitError, match="more than 1 instructions") as caught:
        run(COPY, limits=Limits(instructions=1))
    assert caught.value.code == "E505"
    with pytest.raises(LimitError, match=r"limits=Limits\(run_instructions=\.\.\.\)"):
        run(COPY, limits=Limits(run_instructions=1))


def test_a_huge_loop_is_refused_before_it_runs() -> None:
    loop = "for i in cores(1):\n    for j in range(0, n * n * 8):\n        "
    with pytest.raises(LimitError) as caught:
        run(kernel_of(PARAMS, loop + "fence()"), 2**29)
    assert caught.value.code == "E505"
    with pytest.raises(LimitError) as caught:
        run(kernel_of(PARAMS, loop + "b = j"), 2**29)
    assert caught.value.code == "E506"
    with pytest.raises(LimitError) as caught:
        run(kernel_of(PARAMS, "for i, j in cores(n, n):\n    b = i"), 2**29)
    assert caught.value.code == "E506"


def test_memory_is_limited_before_it_is_taken() -> None:
    scratch = "h = hbm(n, n, n, f32)\nfor i in cores(1):\n    fence()"
    with pytest.raises(LimitError, match=r"limits=Limits\(memory_bytes=\.\.\.\)") as caught:
        run(kernel_of(PARAMS, scratch), 2**19)
    assert caught.value.code == "E509"
    tile = "for i in cores(1):\n    a = sram(n, n, f32)\n    fill(a, 0.0)"
    with pytest.raises(LimitError, match='tile "a"'):
        run(kernel_of(PARAMS, tile), 2**19)


def test_negative_declarations() -> None:
    scratch = "h = hbm(n - 5, f32)\nfor i in cores(1):\n    fence()"
    with pytest.raises(ExecutionError, match='E405 hbm: "h" has dimensions'):
        run(kernel_of(PARAMS, scratch))
    with pytest.raises(ExecutionError, match='E405 tile "a"'):
        run(kernel_of(PARAMS, "for i in cores(1):\n    a = sram(n - 5, 2, f32)\n    fill(a, 0.0)"))


def test_codes_of_this_layer_are_all_raised_here() -> None:
    here = {code for _, _, code, _, _ in CASES.values()} | {"E402", "E411", "E412", "E413", "E414"}
    assert here == {code for code in CODES if code.startswith("E4")}


def test_a_place_that_no_text_has() -> None:
    body = tuple(
        ir.Cores(s.vars, s.extents, s.order, tuple(_without_place(x) for x in s.body))
        if isinstance(s, ir.Cores)
        else s
        for s in COPY.body
    )
    kernel = ir.Kernel("f", COPY.params, body, filename="f.py")
    with pytest.raises(ExecutionError, match="^f.py: E404 load: "):
        run_kernel(kernel, {"T": 2, "D": 4, "N": 5, "n": 0, "d": 1}, {"t": TABLE}, {}, {"x": X[:2]})


def _without_place(stmt: ir.Stmt) -> ir.Stmt:
    if not isinstance(stmt, ir.Instr):
        return stmt
    bare = [
        ir.TileRef(r.tile, r.rows, r.cols)
        if isinstance(r, ir.TileRef)
        else ir.TensorRef(r.tensor, r.index)
        for r in stmt.operands
        if isinstance(r, (ir.TileRef, ir.TensorRef))
    ]
    return ir.Instr(stmt.op, tuple(bare), stmt.keywords)
