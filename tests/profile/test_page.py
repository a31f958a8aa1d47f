"""The HTML report: one file, no network, the numbers of the profile; drawn by hand in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from m890sim import get_task, load_kernel, parse
from m890sim.cli import main
from m890sim.profile import profile_kernel
from m890sim.profile.page import html_report
from m890sim.workloads import KERNELS, simulate

ROOT = Path(__file__).resolve().parents[2]
TASK = get_task("attention_head")
KERNEL = "attention_head_reference"


def data_of(page: str) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_holds_the_profiles() -> None:
    kernel = load_kernel(KERNEL)
    profiles = [profile_kernel(kernel, case) for case in TASK.cases]
    page = html_report(profiles, TASK)
    runs = data_of(page)["runs"]
    assert [run["case"] for run in runs] == [case.name for case in TASK.cases]
    for run, profile in zip(runs, profiles, strict=True):
        assert run["cycles"] == profile.cycles == run["reference"] > run["bound"]
        assert sum(len(core) for core in run["slices"]) == len(profile.rows)
        assert sum(one["cycles"] for one in run["path_lines"]) == profile.cycles
        (own,) = [one for one in run["ladder"] if one["step"] is None]
        assert own["cycles"] == profile.cycles
        expert = simulate(load_kernel("attention_head_expert"), profile.case).cycles
        assert any(one["cycles"] == expert for one in run["ladder"])
        path = [part for parts in run["path"].values() for part in parts]
        assert all(start + length <= profile.cycles for _, start, length in path)


def test_a_task_from_outside_has_a_reference_and_no_ladder() -> None:
    task = get_task(f"{ROOT / 'examples' / 'tasks' / 'rms_norm.py'}:TASK")
    profile = profile_kernel(task.reference, task.cases[0])
    (run,) = data_of(html_report([profile], task))["runs"]
    assert run["reference"] == run["cycles"] == profile.cycles
    assert [one["step"] for one in run["ladder"]] == [None]


def test_the_page_loads_nothing() -> None:
    page = html_report([profile_kernel(load_kernel(KERNEL), TASK.cases[0])], TASK)
    before = page[: page.index('<script id="data"')]
    assert not re.search(r"<link|<img|src=|url\(|@import", before)
    assert "fetch(" not in page and "XMLHttpRequest" not in page
    assert page.count("</script>") == 2


def test_a_kernels_text_cannot_end_the_data() -> None:
    text = KERNELS[KERNEL].text.replace("@kernel", "# </script><b>\n@kernel", 1)
    profile = profile_kernel(parse(text), TASK.cases[0], source=text)
    page = html_report([profile], TASK)
    assert "</script><b>" not in page
    assert "# </script><b>" in data_of(page)["runs"][0]["source"]


def test_no_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="a report shows one profile at least"):
        html_report([], TASK)


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.html"
    run = ["profile", "attention_expert", "--case", "prefill-256", "--html", str(path)]
    assert main([*run, "--more-cases", "extend-ragged", "--json"]) == 0
    runs = data_of(path.read_text("utf-8"))["runs"]
    assert [one["case"] for one in runs] == ["prefill-256", "extend-ragged"]
    capsys.readouterr()
    assert main([*run, "--more-cases", "nope"]) == 2
    assert "nope" in capsys.readouterr().err
