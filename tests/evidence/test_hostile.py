"""Records with anything anywhere: a verdict or a message, never another exception."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m890sim.errors import M890Error
from m890sim.evidence import verify
from tests.evidence.forging import Place, rechain

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["m890", "extend", "unroll", "\x00", "../..", "9" * 40]),
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)


def branches(value: Any, at: Place = ()) -> list[Place]:
    """Where every part of plain data lies, leaves and all that holds them."""
    if not isinstance(value, (dict, list)):
        return []
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[Place] = []
    for key, entry in entries:
        found += [(*at, key), *branches(entry, (*at, key))]
    return found


@given(st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_anything_in_a_submission_gives_a_verdict_or_a_message(
    submission: Path, tmp_path: Path, data: st.DataObject
) -> None:
    record = json.loads(submission.read_text("utf-8"))
    forged = copy.deepcopy(record)
    place = data.draw(st.sampled_from(branches(record)))
    inner = forged
    for key in place[:-1]:
        inner = inner[key]
    if isinstance(inner, dict) and data.draw(st.integers(0, 4)) == 0:
        del inner[place[-1]]
    else:
        inner[place[-1]] = data.draw(values)
    # What cannot be chained anew is judged as it is.
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        forged = rechain(forged)
    file = tmp_path / "forged.json"
    file.write_text(json.dumps(forged), encoding="utf-8")
    try:
        found = verify(file)
    except M890Error as error:
        assert str(error)
        return
    assert found.verified == (found.difference is None)
