"""Reports of runs: the steps lead to the best kernel, refusals add up, damage is named."""

from __future__ import annotations

import json
import math
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from m890sim.agents.chain import CHAIN, first_link, next_link
from m890sim.agents.files import BEST, EVALUATIONS, MANIFEST, RESULT, TIMES
from m890sim.agents.optimize import optimize
from m890sim.agents.reading import RunError
from m890sim.cli import main
from m890sim.evidence import submit
from m890sim.report import report_of
from m890sim.report.lineage import gain_text
from m890sim.report.page import how, report_page
from m890sim.report.picture import main_steps, report_picture
from m890sim.report.refusals import refusals
from tests.agents.toys import made

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / EVALUATIONS).read_text("utf-8").splitlines()]


def rewrite(path: Path, lines: list[dict]) -> None:
    """The log with other lines, chained anew."""
    head = first_link(json.loads((path / MANIFEST).read_text("utf-8")))
    for line in lines:
        line.pop(CHAIN, None)
        head = next_link(head, line)
        line[CHAIN] = head
    (path / EVALUATIONS).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def test_the_steps_lead_from_the_start_to_the_best_kernel(run: Path) -> None:
    report = report_of(run)
    first, last = report.lineage[0], report.lineage[-1]
    assert report.best is not None and last.evaluation == report.best
    assert first.evaluation == 0 and first.gain is None and first.diff == ""
    assert last.speedup == report.speedup == report.lines[report.best]["speedup"] > 1
    gains = [step.gain for step in report.lineage if step.gain is not None]
    assert first.speedup is not None
    assert math.prod(gains) * first.speedup == pytest.approx(report.speedup)
    for step in report.lineage[1:]:
        assert step.places and re.search(r"^[+-]", step.diff, re.M)
        if step.evaluation is not None:
            assert step.cycles == report.lines[step.evaluation]["cycles"]


def test_refusals_add_up_to_what_failed(run: Path) -> None:
    report = report_of(run)
    assert sum(one.count for one in report.refusals) == report.failed
    wrong = {"correct": False, "code": "wrong", "edits": []}
    lines = [
        wrong | {"index": 0, "message": "row 3"},
        wrong | {"index": 1, "message": "row 3"},
        {"index": 2, "correct": True},
        wrong | {"index": 3, "code": "E301", "message": "no room"},
    ]
    found = refusals(lines, [{"index": 7, "message": "values: row 1"}, "junk", {"index": "x"}])
    assert [(one.code, one.count) for one in found] == [("wrong", 2), ("E301", 1), ("judged", 1)]
    assert [example.evaluation for example in found[0].examples] == [0]
    assert found[1].reason == "the tiles of a phase do not fit into SRAM"


def test_time_is_told_by_part(run: Path, copy: Path) -> None:
    report = report_of(run)
    assert set(report.seconds) == {"search", "timing", "gate", "record", "judgement"}
    assert all(value >= 0 for value in report.seconds.values()) and report.timed == 24
    assert report.seconds["judgement"] > 0 and report.seconds["gate"] > 0
    for text in ("", "{}", '{"sittings": [{"first": -1, "count": 3, "seconds": {}}]}', "[]"):
        (copy / TIMES).write_text(text)
        assert not report_of(copy).seconds  # no part of the record: the rest is told all the same
    (copy / TIMES).unlink()
    assert report_of(copy).lineage == report.lineage


def test_a_run_that_goes_on_is_told_so_far(copy: Path) -> None:
    for name in (RESULT, BEST):
        (copy / name).unlink()
    text = (copy / EVALUATIONS).read_bytes().splitlines(keepends=True)
    (copy / EVALUATIONS).write_bytes(b"".join(text[:9]) + b'{"ind')
    report = report_of(copy)
    assert len(report.lines) == 9 and not report.judged and report.hidden is None
    assert report.best is not None and report.speedup == report.lines[-1]["best_speedup"]
    assert "has not ended" in report_page(report)
    (copy / EVALUATIONS).write_bytes(b"")
    empty = report_of(copy)
    assert empty.best is None and not empty.lineage
    report_page(empty)
    report_picture(empty)


def test_a_submission_is_told_too(run: Path, tmp_path: Path) -> None:
    submit(run, tmp_path / "run.json")
    report = report_of(tmp_path / "run.json")
    assert report.lineage == report_of(run).lineage and not report.seconds


def test_kernels_that_were_handed_in_are_told_as_diffs(copy: Path) -> None:
    from m890sim.agents.lines import edits_of
    from m890sim.kernel import print_kernel
    from m890sim.session import KernelSession

    lines = lines_of(copy)
    report = report_of(copy)
    session = KernelSession(report.plan.task, report.plan.cases, report.plan.chip)
    sources = []
    for line in lines:
        session.restart()
        for edit in edits_of(lines, line["index"]):
            session.apply(edit)
        sources.append(print_kernel(session.kernel))
    for line, source in zip(lines[1:], sources[1:], strict=True):
        del line["edits"]
        line |= {"source": source, "parent": None}
    rewrite(copy, lines)
    for name in (RESULT, BEST):
        (copy / name).unlink()
    told = report_of(copy)
    ups = [
        b["index"]
        for a, b in pairwise(lines)
        if b["accepted"] and b["speedup"] == b["best_speedup"] > a["best_speedup"]
    ]
    assert [step.evaluation for step in told.lineage] == [0, *ups]
    assert all("@@" in step.diff and not step.places for step in told.lineage[1:])
    assert how(lines[1]) == "from a text that was handed in"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / MANIFEST).unlink(), "it has no manifest.json"),
        (lambda path: (path / MANIFEST).write_text("{"), "manifest.json is damaged"),
        (lambda path: (path / EVALUATIONS).unlink(), "evaluations.jsonl is missing"),
        (lambda path: (path / EVALUATIONS).write_text("{}\n"), "is damaged in line 1"),
        (lambda path: (path / RESULT).write_text('{"best": {"digest": "x"}}'), "not there"),
    ],
)
def test_damage_is_named(copy: Path, damage, message: str, capsys: Capture) -> None:
    damage(copy)
    assert main(["report", str(copy)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == "" and "Traceback" not in captured.err


def test_a_changed_log_is_refused(copy: Path) -> None:
    lines = lines_of(copy)
    lines[3]["speedup"] += 1.0
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (copy / EVALUATIONS).write_text(text, "utf-8")
    with pytest.raises(RunError, match="evaluation 3 does not follow from what stands before it"):
        report_of(copy)


def test_a_best_kernel_of_other_cycles_is_refused(copy: Path) -> None:
    lines, best = lines_of(copy), report_of(copy).best
    assert best is not None
    (case,) = lines[best]["cycles"]
    lines[best]["cycles"][case] -= 1
    rewrite(copy, lines)
    with pytest.raises(RunError, match=f"evaluation {best} is not what its edits give"):
        report_of(copy)


@pytest.mark.parametrize("what", ["nothing", "a folder", "a file"])
def test_foreign_paths_are_refused(tmp_path: Path, what: str, capsys: Capture) -> None:
    path = tmp_path / "there"
    if what == "a folder":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    elif what == "a file":
        path.write_text("mine")
    assert main(["report", str(path)]) == 2
    err = capsys.readouterr().err
    assert str(path) in err and "Traceback" not in err


def test_the_command_tells_it(run: Path, tmp_path: Path, capsys: Capture) -> None:
    before = {entry.name: entry.read_bytes() for entry in run.iterdir()}
    page, picture = tmp_path / "run.html", tmp_path / "run.png"
    assert main(["report", str(run), "--html", str(page), "--png", str(picture)]) == 0
    out = capsys.readouterr().out
    report = report_of(run)
    for number in main_steps(report, 16):
        assert report.lineage[number].what in out
    for word in ("24 of 24 evaluations spent", "Refused, and why", "judgement", "best so far"):
        assert word in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "<script" in page.read_text("utf-8")
    assert main(["report", str(run), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["best"] == report.best and len(data["log"]) == 24
    assert [step["what"] for step in data["lineage"]] == [step.what for step in report.lineage]
    assert {entry.name: entry.read_bytes() for entry in run.iterdir()} == before


def test_the_page_loads_nothing_and_sets_no_text_as_html(run: Path, copy: Path) -> None:
    lines = lines_of(copy)
    failed = lines[5]
    failed |= {"correct": False, "accepted": False, "code": "wrong", "message": "</script><b>"}
    rewrite(copy, lines)
    page = report_page(report_of(copy))
    assert "</script><b>" not in page and page.count("</script>") == 2
    assert not re.search(r"<link|<img|src=|url\(|@import|fetch\(|innerHTML", page)


def test_the_picture_names_the_main_steps(run: Path) -> None:
    report = report_of(run)
    canvas = report_picture(report)
    written = [label.text for label in canvas.labels]
    for number in main_steps(report, 12):
        assert any(report.lineage[number].what in text for text in written)
    high, wide = (size / canvas.scale for size in canvas.pixels.shape[:2])
    for label in canvas.labels:
        assert label.box.left >= 0 and label.box.right <= wide, label.text
        assert label.box.top >= 0 and label.box.bottom <= high, label.text


@pytest.mark.parametrize(
    ("gain", "text"),
    [(1.0, "0.0%"), (0.99999, "0.0%"), (1.0004, "0.0%"), (1.176, "+17.6%"), (0.98, "-2.0%")],
)
def test_gains_have_a_sign_where_they_are_something(gain: float, text: str) -> None:
    assert gain_text(gain) == text


def test_a_profile_that_counts_is_told_as_one(tmp_path: Path, capsys: Capture) -> None:
    path = made(tmp_path / "run", agent="reader", evaluations=6)
    optimize(path)
    report = report_of(path)
    profiles = [line for line in report.lines if "profile" in line]
    assert report.profiles == len(profiles) > 0
    assert all(how(line).startswith("a profile, on add-600x96") for line in profiles)
    assert main(["report", str(path)]) == 0
    assert f"{len(profiles)} went into profiles" in capsys.readouterr().out
