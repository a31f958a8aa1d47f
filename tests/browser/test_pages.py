"""Pages in a real browser: keys, clicks, wheel, cases, themes, phone width; nothing is loaded.

    pip install -e '.[test,browser]'
    python -m pytest -m browser -n 0

M890_SCREENSHOTS=FOLDER leaves a picture of each page there.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.browser.chromium import PHONE, Browser

pytestmark = pytest.mark.browser
Pages = dict[str, Path]
NAMES = ("profile", "compare", "run")
RIGHT, LEFT, HOME, END = "\ue014", "\ue012", "\ue011", "\ue010"
# A slice of the timeline that is wide enough to hit: its middle, in pixels of the canvas.
SLICE = """(() => {
  const one = %s, wide = one.canvas.clientWidth - Timeline.left;
  const scale = wide / (one.view.end - one.view.begin);
  const slice = one.slices.reduce((a, b) => (b[3] > a[3] ? b : a));
  return [Timeline.left + (slice[2] + slice[3] / 2 - one.view.begin) * scale,
    (slice[0] + 0.5) * Timeline.row, one.run.numbers[slice[1]]];
})()"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE[0], 700, 1400])
def test_page_stands_alone_at_every_width(
    browser: Browser, pages: Pages, name: str, dark: bool, width: int
) -> None:
    browser.open(pages[name], width, 900, dark)
    browser.check()
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    # Every engine that works has its colour on the canvas.
    painted = browser.run("""[...document.querySelectorAll("canvas")].every((canvas) => {
      const found = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const seen = new Set();
      for (let n = 0; n < found.length; n += 4) {
        seen.add((found[n] << 16) + (found[n + 1] << 8) + found[n + 2]);
      }
      return ["dma", "vector"].every((one) => seen.has(parseInt(colour(one).slice(1), 16)));
    })""")
    assert painted
    if width != 700:
        look = "dark" if dark else "light"
        browser.picture(f"{name}-{look}-{width}", 3200 if width > 700 else 5200)


@pytest.mark.parametrize("name", NAMES)
def test_theme_changes_by_key_and_button(browser: Browser, pages: Pages, name: str) -> None:
    browser.open(pages[name])
    looks = [browser.run("getComputedStyle(document.body).backgroundColor")]
    browser.press("t")
    looks.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    browser.driver.find_element("id", "theme").click()
    looks.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert looks[0] == looks[2] != looks[1]
    browser.check()


@pytest.mark.parametrize("name", NAMES)
def test_timeline_zooms_and_moves(browser: Browser, pages: Pages, name: str) -> None:
    browser.open(pages[name])
    whole = browser.run("[view.begin, view.end]")
    assert whole == [0, browser.run("view.cycles")]
    browser.press("+", "+")
    begin, end = browser.run("[view.begin, view.end]")
    assert 0 < begin < end < whole[1] and end - begin == pytest.approx(0.64 * whole[1])
    if name != "run":  # there the arrows go through the evaluations
        browser.press(RIGHT)
        assert browser.run("view.begin") > begin
    browser.press("0")
    assert browser.run("[view.begin, view.end]") == whole
    canvas = "timeline-0" if name == "compare" else "timeline"
    browser.wheel(canvas, -200)
    assert browser.run("view.end - view.begin") == pytest.approx(0.8 * whole[1])
    browser.press("-", "-")
    assert browser.run("[view.begin, view.end]") == pytest.approx(whole)
    browser.check()


def test_profile_shows_lines_by_click_and_key(browser: Browser, pages: Pages) -> None:
    browser.open(pages["profile"])
    x, y, line = browser.run(SLICE % "timeline")
    browser.click("timeline", x, y)
    assert browser.text("detail").startswith(f"line {line}: ")
    assert browser.run("document.querySelector('tr.chosen').id") == f"line-{line}"
    seen = []
    for _ in range(3):
        browser.press("j")
        seen.append(browser.run("chosen"))
    assert seen == sorted(set(seen))
    browser.press("k")
    assert browser.run("chosen") == seen[1]
    browser.check()


def test_profile_switches_case_and_core(browser: Browser, pages: Pages) -> None:
    from selenium.webdriver.support.ui import Select

    browser.open(pages["profile"])
    assert browser.text("title") == "attention_expert on prefill-256"
    cycles = browser.run("run.cycles")
    Select(browser.driver.find_element("id", "case")).select_by_visible_text("extend-ragged")
    assert browser.text("title") == "attention_expert on extend-ragged"
    assert browser.run("run.cycles") != cycles and browser.run("view.end") != cycles
    first = browser.run("timeline.slices.length")
    Select(browser.driver.find_element("id", "core")).select_by_visible_text("5")
    assert browser.run("timeline.slices === run.slices[5]") and first
    browser.check()


def test_compare_goes_through_what_changed(browser: Browser, pages: Pages) -> None:
    browser.open(pages["compare"])
    gained = browser.run("data.rows.reduce((sum, one) => sum + one.gained, data.launch)")
    assert gained == browser.run("data.cycles[0] - data.cycles[1]")
    seen = []
    for _ in range(3):
        browser.press("j")
        seen.append(browser.run("chosen"))
        assert "critical path" in browser.text("detail")
    assert seen == sorted(set(seen))
    browser.press("k")
    assert browser.run("chosen") == seen[1]
    for number, side in ((0, "before"), (1, "after")):
        x, y, line = browser.run(SLICE % f"timelines[{number}]")
        browser.click(f"timeline-{number}", x, y)
        assert browser.run(f"data.rows[chosen].{side}") == line
        assert browser.run("document.querySelectorAll('.chosen').length") == 1
    browser.check()


def test_compare_shows_both_texts_on_a_phone(browser: Browser, pages: Pages) -> None:
    browser.open(pages["compare"], *PHONE)
    for how, shown in (("same", 1), ("gone", 1), ("added", 1)):
        found = browser.run(
            f"[...document.querySelector('.pair.{how}').querySelectorAll('.text')]"
            ".filter((one) => one.offsetWidth).length"
        )
        assert found == shown, how


def test_run_goes_through_evaluations_and_steps(browser: Browser, pages: Pages) -> None:
    browser.open(pages["run"])
    assert browser.run("chosen === data.best")
    browser.press(HOME)
    assert browser.text("detail").startswith("evaluation 0: 1.00x")
    browser.press(RIGHT, RIGHT, LEFT)
    assert browser.text("detail").startswith("evaluation 1: ")
    browser.press(END)
    assert browser.text("detail").startswith(f"evaluation {browser.run('log.length') - 1}: ")
    browser.press("j", "j")
    step = browser.run("step")
    assert step > 0 and browser.run(f"document.getElementById('step-{step}').classList[1]")
    assert "@@" in browser.text("diff")
    browser.click("curve", browser.run("document.querySelector('#curve rect').x.baseVal.value"), 60)
    assert browser.run("chosen") == 0
    few = browser.run("document.querySelectorAll('#lineage tr.known').length")
    browser.driver.find_element("id", "small").click()
    assert browser.run("document.querySelectorAll('#lineage tr.known').length") >= few
    assert browser.run("data.lineage.length") == browser.run(
        "document.querySelectorAll('#lineage tr.known').length"
    )
    browser.check()


@pytest.mark.parametrize("width", [PHONE[0], 1400])
def test_labels_of_the_curve_are_readable(browser: Browser, pages: Pages, width: int) -> None:
    browser.open(pages["run"], width, 900)
    boxes = browser.run("""[...document.querySelectorAll("#curve text")].map((one) => {
      const box = one.getBoundingClientRect();
      return [one.textContent, box.left, box.top, box.right, box.bottom];
    })""")
    plot = browser.run("""(() => {
      const box = document.querySelector("#curve rect").getBoundingClientRect();
      return [box.left, box.top, box.right, box.bottom];
    })()""")
    assert len(boxes) > 5
    for one, other in itertools.combinations([*boxes, ["the plot", *plot]], 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
        assert apart, (one, other)
    assert all(box[1] >= 0 and box[3] <= width for box in boxes)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<script>throw new Error('broken')</script>", "broken"),
        ("<script>fetch('http://127.0.0.1:9/x').catch(() => 0)</script>", "127.0.0.1:9"),
        ("<img src='http://127.0.0.1:9/picture.png'>", "picture.png"),
        ("<link rel='stylesheet' href='other.css'>", "other.css"),
        ("<div style='width: 900px'>wide</div>", "the page is 9"),
    ],
    ids=["error", "fetch", "picture", "style", "overflow"],
)
def test_a_bad_page_is_caught(browser: Browser, tmp_path: Path, body: str, message: str) -> None:
    path = tmp_path / "bad.html"
    path.write_text(f"<!doctype html><title>bad</title>{body}", "utf-8")
    browser.open(path, *PHONE)
    with pytest.raises(AssertionError, match=message):
        browser.check()
    browser.logs("browser")
