"""Layout: jumps take their labels' places, and registers are numbered anew, as a dict would."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from m890sim.bind import encoding as k
from m890sim.bind.layout import Code, Jump, Label, laid_out, row
from m890sim.bind.scalars import ScalarValues


def test_jumps_take_the_places_of_their_labels() -> None:
    code, back, ahead = Code(), Label(), Label()
    code.add(back)
    code.add_rows(row(k.SEQUENCER, 1) + row(k.SEQUENCER, 2))
    code.add(Jump(ahead, 2, k.BRANCH, 0))
    code.add(Jump(back, 1, k.JUMP))
    code.add(ahead)
    assert code.size == 6
    found, phases, _, _ = laid_out(
        code, [], [(back, 0, 1, 2), (ahead, 0, 3, 4)], [ScalarValues().zero]
    )
    rows = [[k.SEQUENCER, 1], [k.SEQUENCER, 2], [k.BRANCH, 0, 36], [k.JUMP, 0], []]
    padded = [numbers + [0] * (k.CODE_WIDTH - len(numbers)) for numbers in rows]
    assert found.reshape(-1, k.CODE_WIDTH).tolist() == padded
    assert phases.tolist() == [[0, 0, 1, 2], [36, 0, 3, 4]]


NUMBERS = st.one_of(st.integers(-1, 9), st.integers(0, 99).map(lambda n: k.REGISTER + n))


@given(
    st.lists(st.lists(NUMBERS, max_size=k.CODE_WIDTH), max_size=9),
    st.lists(st.lists(NUMBERS, min_size=4, max_size=4), max_size=3),
    st.integers(1, 5),
)
def test_registers_are_numbered_in_the_order_of_their_use(
    rows: list[list[int]], instructions: list[list[int]], first: int
) -> None:
    code, values = Code(), ScalarValues()
    for numbers in rows:
        code.add(row(*numbers))
    given_first = [values.const(n) for n in range(first)]
    kept = [np.array(numbers, dtype=np.int64).tobytes() for numbers in instructions]
    found, _, bodies, count = laid_out(code, kept, [], given_first)
    expected: dict[int, int] = {}
    for value in given_first:
        expected.setdefault(k.REGISTER + value.number, len(expected))

    def renumbered(numbers: list[int]) -> list[int]:
        return [expected.setdefault(n, len(expected)) if n >= k.REGISTER else n for n in numbers]

    padded = [renumbered(numbers) + [0] * (k.CODE_WIDTH - len(numbers)) for numbers in rows]
    assert found.reshape(-1, k.CODE_WIDTH).tolist() == [*padded, [0] * k.CODE_WIDTH]
    assert bodies.reshape(-1, 4).tolist() == [renumbered(numbers) for numbers in instructions]
    assert count == len(expected)
