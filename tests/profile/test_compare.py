"""Comparisons: the gains of the lines add up to the difference, and lines are matched by text."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from m890sim import get_task, load_kernel, parse
from m890sim.cli import main
from m890sim.profile import Profile, profile_kernel
from m890sim.profile.compare import compare_profiles
from m890sim.workloads import KERNELS, ladder

Capture = pytest.CaptureFixture[str]
STEPS = [entry.name for entry in ladder("extend")][:8]


def profile_of(name: str, number: int = 0) -> Profile:
    return profile_kernel(load_kernel(name), get_task(KERNELS[name].task).cases[number])


@pytest.mark.parametrize("step", range(len(STEPS) - 1))
def test_gains_add_up_to_the_difference(step: int) -> None:
    first, second = profile_of(STEPS[step]), profile_of(STEPS[step + 1])
    found = compare_profiles(first, second)
    assert found.saved == first.cycles - second.cycles == sum(one.gained for one in found.lines)
    assert sum(found.kinds.values()) == found.saved
    for profile, side in ((first, "before"), (second, "after")):
        lines = Counter(getattr(one, side) for one in found.lines)
        del lines[None], lines[0]
        assert lines == Counter({line.line for line in profile.lines})
    work = sum(line.cycles for line in first.lines) - sum(line.cycles for line in second.lines)
    assert sum(one.busy for one in found.lines) == work
    cores = len(first.cores)
    for causes in found.causes.values():
        assert sum(causes.values()) == found.saved * cores


def test_a_kernel_gains_nothing_over_itself() -> None:
    found = compare_profiles(profile_of(STEPS[2]), profile_of(STEPS[2]))
    assert not any((one.gained, one.busy, one.waiting) != (0, 0, 0) for one in found.lines)
    assert all(one.before == one.after for one in found.lines)
    assert not found.kinds and not any(found.causes.values())


def test_lines_are_matched_by_their_text() -> None:
    text = KERNELS[STEPS[1]].text
    moved = text.replace("@kernel", "# one line more\n@kernel", 1)
    case = get_task("extend").cases[0]
    one, other = (profile_kernel(parse(each), case, source=each) for each in (text, moved))
    found = compare_profiles(one, other)
    assert all(
        change.after == change.before + 1
        for change in found.lines
        if change.before and change.after
    )


def test_other_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="only runs on the same case and chip can be compared"):
        compare_profiles(profile_of(STEPS[0]), profile_of(STEPS[0], 1))


def test_the_command_explains_a_step(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["compare", STEPS[1], STEPS[2], "--case", "prefill-256"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 110
    assert "What became of each line" in out and "The critical path by kind" in out
    assert main(["compare", STEPS[1], STEPS[2], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["saved"] == found["cycles"][0] - found["cycles"][1]
    assert found["kernels"] == [STEPS[1], STEPS[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", STEPS[0], "nope"], "nope"),
        (["compare", "-", "-"], "standard input holds one kernel"),
        (["compare", STEPS[0], "matmul_reference"], ""),
        (["compare", STEPS[0], STEPS[1], "--case", "nope"], "nope"),
    ],
)
def test_refused_input_is_named(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err and message in captured.err
    assert "Traceback" not in captured.err
