"""The trace of a run: what a viewer asks of the format, and that it shows the run."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from m890sim import get_task, load_kernel
from m890sim.cli import main
from m890sim.profile import Profile, profile_kernel
from m890sim.profile.timeline import Excerpt, timeline


@lru_cache
def profile() -> Profile:
    return profile_kernel(load_kernel("attention_9_balance"), get_task("extend").cases[0])


def events(window: Excerpt | None = None) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for event in json.loads(timeline(profile(), window))["traceEvents"]:
        found[event["ph"]].append(event)
    return found


def test_every_instruction_is_a_slice_and_no_two_overlap() -> None:
    slices = events()["X"]
    rows = profile().rows
    assert len(slices) == len(rows)
    tracks = defaultdict(list)
    for one in slices:
        tracks[one["pid"], one["tid"]].append((one["ts"], one["ts"] + one["dur"]))
    assert sum(end - begin for track in tracks.values() for begin, end in track) == sum(
        rows.finish - rows.start
    )
    for track in tracks.values():
        ordered = sorted(track)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(ordered))
    lines = profile().source.splitlines()
    assert all(one["name"] in lines[one["args"]["line"] - 1] for one in slices)


def test_arrows_lead_from_a_slice_to_the_start_of_another() -> None:
    found = events()
    at = {(one["pid"], one["tid"], one["ts"]) for one in found["X"]}
    spans = defaultdict(list)
    for one in found["X"]:
        spans[one["pid"], one["tid"]].append((one["ts"], one["ts"] + max(1, one["dur"])))
    ends = {one["id"]: one for one in found["f"]}
    assert found["s"] and len(found["s"]) == len(ends)
    for begin in found["s"]:
        end = ends[begin["id"]]
        assert (end["pid"], end["tid"], end["ts"]) in at and begin["ts"] <= end["ts"]
        inside = spans[begin["pid"], begin["tid"]]
        assert any(first <= begin["ts"] < last for first, last in inside)


def test_the_counter_adds_up_to_the_bytes_of_the_run() -> None:
    rows = profile().rows
    width = rows.chip.hbm_window_cycles
    moved = [one["args"]["bytes a cycle"] for one in events()["C"] if one["name"] == "HBM"]
    assert sum(moved) * width == pytest.approx(profile().hbm_bytes, rel=0.01)


def test_the_counter_of_sram_follows_the_phases() -> None:
    split = profile_kernel(load_kernel("decode_5_split"), get_task("decode").cases[0])
    counted = [
        (one["ts"], one["args"]["bytes held"])
        for one in json.loads(timeline(split))["traceEvents"]
        if one["ph"] == "C" and one["name"] == "SRAM of a core"
    ]
    timing, chip = split.rows.timing, split.rows.chip
    first, second = (chip.sram_bytes - phase.sram_free for phase in split.memory)
    start = chip.launch_cycles + chip.core_start_cycles
    barrier = timing.phase_ends[0]
    assert counted == [(start, first), (barrier, 0), (barrier + chip.barrier_cycles, second)]


def test_no_track_has_the_number_of_a_process_or_of_another_track() -> None:
    """Perfetto takes these for one track, and drops slices that overlap on it."""
    found = events()["M"]
    processes = [one["pid"] for one in found if one["name"] == "process_name"]
    tracks = [one["tid"] for one in found if one["name"] == "thread_name"]
    assert 0 not in processes + tracks
    assert len(set(processes + tracks)) == len(processes + tracks)


def test_tracks_have_names() -> None:
    names = Counter(one["name"] for one in events()["M"])
    chip = profile().rows.chip
    assert names["process_name"] == chip.cores + 1  # and one for the counters
    assert names["thread_name"] == chip.cores * len(profile().rows.engines)


def test_a_window_shows_its_part() -> None:
    window = Excerpt(3000, 6000, (1, 2))
    found = events(window)
    assert {one["pid"] for one in found["X"]} == {1001, 1002}
    assert all(one["ts"] < 6000 and one["ts"] + one["dur"] > 3000 for one in found["X"])
    assert 0 < len(found["X"]) < len(events()["X"])


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Excerpt(5, 5), "the window must begin before it ends, not at 5 of 5"),
        (Excerpt(10**9), "the window must begin before it ends, not at 1000000000 of"),
        (Excerpt(cores=(99,)), "core 99 is none of the run's, 0 to 15"),
    ],
)
def test_windows_that_show_nothing_are_refused(window: Excerpt, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timeline(profile(), window)


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.json"
    run = ["profile", "vector_add_reference", "--json", "--trace", str(path)]
    assert main([*run, "--from", "2000", "--to", "9000", "--cores", "0"]) == 0
    found = json.loads(path.read_text("utf-8"))
    assert found["otherData"]["cycles"] == json.loads(capsys.readouterr().out)["cycles"]
    assert main([*run, "--cores", "77"]) == 2
    assert "core 77 is none of the run's" in capsys.readouterr().err
    assert main([*run[:-1], str(tmp_path / "no" / "trace.json")]) == 2
    assert "no" in capsys.readouterr().err
