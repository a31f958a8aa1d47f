"""Reading what strangers may have made: in time that grows with its size."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.agents.reading import parse_json


def test_doubled_key_among_many_is_found_at_once() -> None:
    keys = [f'"{number}":0' for number in range(100_000)]
    begin = time.process_time()
    with pytest.raises(ValueError, match="the key '99999' is there twice in one object"):
        parse_json(("{" + ",".join([*keys, keys[-1]]) + "}").encode())
    # Counting each key among all others would take minutes.
    assert time.process_time() - begin < 5


@given(st.lists(st.text("abc", max_size=2), max_size=8))
def test_first_doubled_key_is_named(keys: list[str]) -> None:
    text = "{" + ",".join(f"{json.dumps(key)}:0" for key in keys) + "}"
    twice = [key for number, key in enumerate(keys) if key in keys[:number]]
    if not twice:
        assert list(parse_json(text.encode())) == keys
        return
    with pytest.raises(ValueError, match=f"the key '{twice[0]}' is there twice"):
        parse_json(text.encode())
