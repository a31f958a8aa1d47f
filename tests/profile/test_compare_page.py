"""The page of a comparison: every line of both sources once, in order, and gains that add up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim import get_task, load_kernel, parse
from m890sim.cli import main
from m890sim.profile import profile_kernel
from m890sim.profile.compare import compare_profiles
from m890sim.profile.compare_page import _pairs, aligned, comparison_page
from m890sim.workloads import KERNELS, ladder
from tests.profile.test_page import data_of

STEPS = [entry.name for entry in ladder("extend")][:5]
CASE = get_task("extend").cases[0]


@pytest.mark.parametrize("step", range(len(STEPS) - 1))
def test_rows_hold_both_sources_and_the_whole_difference(step: int) -> None:
    first, second = (profile_kernel(load_kernel(name), CASE) for name in STEPS[step : step + 2])
    found = compare_profiles(first, second)
    rows = aligned(first, second, found)
    for profile, side in ((first, "before"), (second, "after")):
        lines = [row[side] for row in rows if row[side] is not None]
        assert lines == list(range(1, len(profile.source.splitlines()) + 1))
    launch = sum(change.gained for change in found.lines if change.before == 0)
    assert sum(row["gained"] for row in rows) + launch == found.saved
    changes = [change for row in rows for change in row["changes"]]
    assert len(changes) == len(found.lines) - 1
    texts = [profile.source.splitlines() for profile in (first, second)]
    for row in rows:
        if row["how"] == "same":
            old, new = texts[0][row["before"] - 1], texts[1][row["after"] - 1]
            assert old.strip() == new.strip()


@given(st.data())
def test_pairs_hold_every_line_once_in_order(data: st.DataObject) -> None:
    lines = st.lists(st.sampled_from("abc"), max_size=9)
    one, other = data.draw(lines), data.draw(lines)
    count = data.draw(st.integers(0, min(len(one), len(other))))
    picked = [
        sorted(data.draw(st.permutations(range(1, len(side) + 1)))[:count]) for side in (one, other)
    ]
    anchors = list(zip(*picked, strict=True))
    rows = list(_pairs(one, other, anchors))
    assert [row[0] for row in rows if row[0]] == list(range(1, len(one) + 1))
    assert [row[1] for row in rows if row[1]] == list(range(1, len(other) + 1))
    assert set(anchors) <= {row[:2] for row in rows}
    for before, after, how in rows:
        if how == "same":
            assert before and after and one[before - 1] == other[after - 1]


def test_the_page_loads_nothing_and_no_text_ends_the_data() -> None:
    text = KERNELS[STEPS[0]].text.replace("@kernel", "# </script><b>\n@kernel", 1)
    first = profile_kernel(parse(text), CASE, source=text)
    page = comparison_page(first, profile_kernel(load_kernel(STEPS[1]), CASE))
    assert "</script><b>" not in page and page.count("</script>") == 2
    assert not re.search(r"<link|<img|src=|url\(|@import|fetch\(|innerHTML", page)
    data = data_of(page)
    assert "# </script><b>" in data["sides"][0]["source"]
    assert data["cycles"] == [first.cycles, data["sides"][1]["cycles"]]
    assert all(len(side["slices"]) == 1 for side in data["sides"])


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "compare.html"
    assert main(["compare", STEPS[0], STEPS[1], "--html", str(path)]) == 0
    assert data_of(path.read_text("utf-8"))["kernels"] == STEPS[:2]
    assert main(["compare", STEPS[0], STEPS[1], "--html", str(tmp_path / "no" / "x.html")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
