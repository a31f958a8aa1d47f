"""Helpers over the IR."""

from __future__ import annotations

import pytest

from m890sim.kernel import ir
from m890sim.kernel.printer import print_expr
from m890sim.kernel.shapes import evaluate, instruction, piece_shape, slice_extent

N, M = ir.Name("n"), ir.Name("m")


def plus(left: ir.Expr, right: ir.Expr) -> ir.Op:
    return ir.Op("+", (left, right))


def test_evaluate_floors() -> None:
    values = {"n": -7, "m": 2}
    assert evaluate(ir.Op("//", (N, M)), values) == -4
    assert evaluate(ir.Op("%", (N, M)), values) == 1
    assert evaluate(ir.Op("ceil_div", (N, M)), values) == -3
    assert evaluate(ir.Op("min", (N, M)), values) == -7


def test_evaluate_gives_zero_or_one_for_logic() -> None:
    values = {"n": 5, "m": 0}
    assert evaluate(ir.Op("and", (N, N)), values) == 1
    assert evaluate(ir.Op("or", (M, N)), values) == 1
    assert evaluate(ir.Op("and", (M, ir.Name("absent"))), values) == 0
    assert evaluate(ir.Op("not", (M,)), values) == 1
    assert evaluate(ir.Op(">=", (N, M)), values) == 1


def test_evaluate_reads_tables() -> None:
    element = ir.TableRef("t", plus(N, ir.Const(1)))
    assert evaluate(element, {"n": 0}, {"t": [4, 8]}) == 8
    with pytest.raises(IndexError):
        evaluate(element, {"n": 1}, {"t": [4, 8]})
    with pytest.raises(IndexError):
        evaluate(element, {"n": -2}, {"t": [4, 8]})


def test_evaluate_refuses_what_has_no_value() -> None:
    with pytest.raises(KeyError):
        evaluate(N, {})
    with pytest.raises(ZeroDivisionError):
        evaluate(ir.Op("//", (N, ir.Const(0))), {"n": 1})


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        (ir.FULL, "D"),
        (ir.Slice(None, N), "n"),
        (ir.Slice(N), "D - n"),
        (ir.Slice(N, plus(N, M)), "m"),
        (ir.Slice(N, plus(N, ir.Const(9)), ir.Const(2)), "5"),
        (ir.Slice(None, None, ir.Const(2)), "ceil_div(D, 2)"),
        (ir.Gather("t", M, plus(M, N)), "n"),
    ],
)
def test_extent_of_a_slice(piece: ir.Slice | ir.Gather, expected: str) -> None:
    assert print_expr(slice_extent(piece, ir.Name("D"))) == expected


def test_shape_of_a_tile_piece() -> None:
    ref = ir.TileRef("a", ir.Slice(None, N), transposed=True)
    rows, cols = piece_shape(ref, (ir.Const(128), ir.Name("D")))
    assert (print_expr(rows), print_expr(cols)) == ("D", "n")


def test_shape_of_a_tensor_piece_merges_rows() -> None:
    dims = (ir.Name("T"), ir.Name("H"), ir.Name("D"))
    gather = ir.Gather("t", M, plus(M, N))
    rows, cols = piece_shape(
        ir.TensorRef("x", (gather, ir.Slice(None, ir.Const(4)), ir.FULL)), dims
    )
    assert (print_expr(rows), print_expr(cols)) == ("n * 4", "D")
    one = piece_shape(ir.TensorRef("x", (N, M, ir.Const(0))), dims)
    assert one == (ir.Const(1), ir.Const(1))


def test_instruction_orders_keywords_and_drops_defaults() -> None:
    operands = (ir.TileRef("a"), ir.TileRef("b"))
    given: dict[str, ir.Keyword] = {
        "engine": "vector",
        "bias": ir.Const(1.0),
        "scale": ir.Const(2.0),
    }
    made = instruction("exp2", operands, given)
    assert [name for name, _ in made.keywords] == ["scale", "bias", "engine"]
    assert instruction("exp2", operands, {"engine": "sfu"}).keywords == ()
    assert instruction("load", operands, {"queue": ir.Const(0)}).keywords == ()
    assert instruction("matmul", (*operands, operands[1]), {"accumulate": False}).keywords == ()


def test_instruction_refuses_unknown_keywords() -> None:
    with pytest.raises(ValueError, match="must not be"):
        instruction("copy", (ir.TileRef("a"), ir.TileRef("b")), {"queue": ir.Const(1)})
    with pytest.raises(KeyError):
        instruction("nothing", ())
