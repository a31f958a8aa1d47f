"""Reading what strangers may have made: in time that grows with its size."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.agents.files import EVALUATIONS, read_lines
from m890sim.agents.reading import MOST_PARTS, RunError, parse_json


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


MEASURE = """
import resource, sys
from pathlib import Path
from m890sim.agents.reading import read_bounded, parse_object
from m890sim.errors import M890Error
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    parse_object(read_bounded(Path(sys.argv[1])), "x")
except M890Error as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("part", "least"),
    [(b'{"":0},', 4_000_000), (b"[],", 4_000_000), (b'{"":0},', 1_200_000), (b"{},", 1_200_000)],
)
def test_memory_of_many_small_parts_is_bounded(part: bytes, least: int, tmp_path: Path) -> None:
    """Peak of the process, in KiB: below a gigabyte whether the file is refused or read."""
    file = tmp_path / "parts.json"
    file.write_bytes(b'{"a":[' + part * least + b"0]}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert int(lines[-1]) < 700_000
    refused = 2 * least > MOST_PARTS
    assert (f"at most {MOST_PARTS} are read" in lines[0]) == refused


def test_log_of_too_many_small_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / EVALUATIONS).write_bytes((b"[" * 500_000 + b"\n") * 6)
    with pytest.raises(RunError, match="it has 3000000 braces, brackets and commas, at most"):
        read_lines(tmp_path)
