"""Row errors and their messages."""

from __future__ import annotations

import numpy as np

from m890sim.judge import check_rows, row_errors


def test_row_error_is_relative_to_each_row():
    expected = np.array([[[3.0, 4.0]], [[300.0, 400.0]]])
    actual = np.array([[[3.0, 4.5]], [[300.0, 400.5]]], np.float32)
    np.testing.assert_allclose(row_errors(actual, expected), [[0.1], [0.001]])


def test_row_error_is_infinite_where_a_value_is_not_finite():
    expected = np.ones((1, 4, 2))
    actual = np.ones((1, 4, 2), np.float32)
    actual[0, 0, 1], actual[0, 1, 0], actual[0, 2, 1] = np.nan, np.inf, -np.inf
    assert row_errors(actual, expected).tolist() == [[np.inf, np.inf, np.inf, 0.0]]


def test_row_error_of_a_zero_row_is_zero_only_if_met():
    expected = np.zeros((1, 2, 2))
    actual = np.array([[[0.0, 0.0], [0.0, 1e-30]]])
    assert row_errors(actual, expected).tolist() == [[0.0, np.inf]]


def test_check_rows_names_the_worst_row_and_counts_the_wrong_ones():
    expected = np.ones((5, 3, 4))
    actual = expected.copy()
    actual[2, 1] += 0.02
    actual[4, 0] += 0.5
    found = check_rows("o", actual, expected, 0.01)
    assert not found.correct
    assert found.rows == 15
    assert found.message == (
        "2 of 15 rows are wrong: o[4, 0, :] has relative error 0.5, at most 0.01 is allowed"
    )


def test_check_rows_looks_at_the_chosen_rows_alone():
    expected = np.ones((5, 3, 4))
    actual = expected.copy()
    actual[2, 1] = np.nan
    rows = np.zeros((5, 3), bool)
    rows[0] = True
    assert check_rows("o", actual[rows], expected[rows], 0.01, rows).correct
    rows[2, 1] = True
    found = check_rows("o", actual[rows], expected[rows], 0.01, rows)
    assert found.message == (
        "1 row is wrong: o[2, 1, :] is not finite: column 0 holds nan, and no value may be"
    )


def test_check_rows_names_what_must_be_zero():
    actual = np.zeros((2, 4))
    actual[1, 2] = -0.25
    found = check_rows("o", actual, np.zeros((2, 4)), 0.01)
    assert found.error == np.inf
    assert found.message == ("1 row is wrong: o[1, :] must be zero throughout, and holds -0.25")


def test_check_rows_allows_exactly_the_tolerance():
    expected = np.ones((1, 1, 1))
    assert check_rows("o", expected + 0.125, expected, 0.125).correct
    assert not check_rows("o", expected + 0.126, expected, 0.125).correct
