"""Traces as Perfetto's own trace processor reads them, held against the run itself.

Not in the usual run: it installs packages, in an environment of its own.
`pytest -m perfetto tests/perfetto`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from m890sim import get_task, load_kernel
from m890sim.profile import Profile, profile_kernel
from m890sim.profile.timeline import Excerpt, timeline

HERE = Path(__file__).parent
pytestmark = pytest.mark.perfetto

TRACKS = """
select process.name, thread.name, count(*), sum(dur) / 1000, max(depth)
from slice join thread_track on slice.track_id = thread_track.id
join thread using (utid) join process using (upid) group by 1, 2"""
SLICES = """
select slice.name, ts / 1000, dur / 1000, extract_arg(arg_set_id, 'args.line'),
extract_arg(arg_set_id, 'args.source') from slice order by 2, 1, 4, 3"""
ARROWS = """
select a.ts / 1000, a.dur / 1000, b.ts / 1000
from flow join slice a on slice_out = a.id join slice b on slice_in = b.id"""
COUNTERS = """
select counter_track.name, process.name, count(*), sum(value), max(value)
from counter join process_counter_track as counter_track on counter.track_id = counter_track.id
join process using (upid) group by 1, 2 order by 1"""
PROBLEMS = "select name, value from stats where severity != 'info' and value != 0"


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("perfetto")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    needs = str(HERE / "requirements.txt")
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", needs], check=True)
    return python


def ask(python: str, trace: Path, *queries: str) -> list[list[list[Any]]]:
    done = subprocess.run(
        [python, str(HERE / "ask.py"), str(trace)],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[list[Any]]] = json.loads(done.stdout)
    return found


@lru_cache
def profile(kernel: str, task: str, case: int) -> Profile:
    return profile_kernel(load_kernel(kernel), get_task(task).cases[case])


@pytest.mark.parametrize(
    ("kernel", "task", "case"),
    [
        ("attention_reference", "extend", 2),
        ("attention_expert", "extend", 2),
        ("decode_5_split", "decode", 0),
        ("vector_add_reference", "vector_add", 0),
    ],
)
def test_perfetto_reads_every_instruction_on_its_track(
    python: str, tmp_path: Path, kernel: str, task: str, case: int
) -> None:
    one = profile(kernel, task, case)
    rows, names = one.rows, one.rows.engines
    trace = tmp_path / "trace.json"
    trace.write_text(timeline(one), "utf-8")
    tracks, slices, arrows, counters, problems = ask(
        python, trace, TRACKS, SLICES, ARROWS, COUNTERS, PROBLEMS
    )
    assert problems == []
    number, cycles = Counter(), Counter()
    width = len(str(rows.chip.cores - 1))
    for core, engine, start, finish in zip(
        rows.core.tolist(),
        rows.engine.tolist(),
        rows.start.tolist(),
        rows.finish.tolist(),
        strict=True,
    ):
        place = (f"core {core:0{width}}", names[engine])
        number[place] += 1
        cycles[place] += finish - start
    assert {(core, engine): [n, time, depth] for core, engine, n, time, depth in tracks} == {
        place: [count, cycles[place], 0] for place, count in number.items()
    }
    expected = []
    for row in range(len(rows)):
        what = rows.instructions[int(rows.number[row])]
        start, finish = int(rows.start[row]), int(rows.finish[row])
        expected.append([what.stmt.op, start, finish - start, what.line, what.text])
    assert slices == sorted(expected, key=lambda s: (s[1], s[0], s[3], s[2]))
    sources = [
        rows.source(row)
        for row in range(len(rows))
        if rows.waited[row] and rows.why["cause"][row] and rows.source(row) >= 0
    ]
    assert len(arrows) == len(sources)
    assert all(begin <= end for begin, _, end in arrows)
    by_name = {name: rest for name, *rest in counters}
    hbm, sram = by_name["HBM bytes a cycle"], by_name["SRAM of a core bytes held"]
    assert hbm[0] == sram[0] == "memory"
    assert hbm[2] * rows.chip.hbm_window_cycles == pytest.approx(one.hbm_bytes, rel=0.01)
    assert sram[3] == rows.chip.sram_bytes - min(phase.sram_free for phase in one.memory)


def test_perfetto_reads_an_excerpt(python: str, tmp_path: Path) -> None:
    one = profile("attention_expert", "extend", 2)
    window = Excerpt(5000, 7000, (1, 6))
    trace = tmp_path / "trace.json"
    trace.write_text(timeline(one, window), "utf-8")
    tracks, problems = ask(python, trace, TRACKS, PROBLEMS)
    assert problems == []
    assert {core for core, *_ in tracks} == {"core 01", "core 06"}
    assert sum(n for _, _, n, *_ in tracks) == len(window.rows(one.rows))


def test_perfetto_says_what_it_drops(python: str, tmp_path: Path) -> None:
    """The check itself: two slices that overlap on one track are a problem in its tables."""
    head = '{"ph":"X","pid":5,"tid":9,"name":"a"'
    trace = tmp_path / "trace.json"
    trace.write_text(
        f'{{"traceEvents":[{head},"ts":0,"dur":5}},{head},"ts":3,"dur":5}}]}}', "utf-8"
    )
    (problems,) = ask(python, trace, PROBLEMS)
    assert problems == [["slice_drop_overlapping_complete_event", 1]]
