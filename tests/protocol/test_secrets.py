"""What a session tells at each level: the chip's numbers stay behind below `full`.

Two chips with other numbers must give the same texts wherever a kernel is refused, and no text may
hold a large number of the chip.
"""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import pytest

from m890sim.chip import CHIPS, ChipSpec, draw_chip
from m890sim.protocol import Answer, SourceSession, Terms, instructions, session_plan
from m890sim.protocol.documents import numbers, page, pages_of
from tests.protocol.players import MEMORY

CHIPS_TRIED = [draw_chip("balanced", "test", 3), draw_chip("cramped", "test", 1)]
LARGE = 1000  # smaller numbers stand everywhere: shapes, lines, tunables

# What a kernel may do wrong with the machine: one change each.
REFUSED = {
    "E301": ("xt = sram(BR, C, bf16)", "xt = sram(BR * 4096, C, bf16)"),
    "E302": (
        "xt = sram(BR, C, bf16)",
        "xt = sram(BR, C, bf16)\n            big = acc(BR * 4096, C)\n            fill(big, 0.0)",
    ),
    "E303": (
        ":rows], x[r * BR : r * BR + rows, :])",
        ":rows], x[r * BR : r * BR + rows, :], queue=14)",
    ),
    "E217": (
        ":rows], x[r * BR : r * BR + rows, :])",
        ":rows], x[r * BR : r * BR + rows, :], queue=99)",
    ),
    "E305": ("xt = sram(BR, C, bf16)", "xt = sram(BR, C, bf16, at=999)"),
    "E307": (
        "xt = sram(BR, C, bf16)",
        "xt = sram(BR, C, bf16)\n            no = sram(BR, C - 5000, bf16)",
    ),
}


@cache
def session(docs: str, chip: ChipSpec) -> SourceSession:
    """One for all tests: none of them hangs on what was called before."""
    plan = session_plan("row_softmax", chip, terms=Terms(docs=docs), hidden=0)
    return SourceSession(plan, memory=MEMORY)


def refused(found: SourceSession, code: str) -> Answer:
    old, new = REFUSED[code]
    return found.call("check", {"replace": [{"old": old, "new": new}], "base": 0})


@pytest.mark.parametrize("docs", ["none", "language"])
@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_says_the_same_on_every_chip(docs: str, code: str) -> None:
    first, second = (refused(session(docs, chip), code) for chip in CHIPS_TRIED)
    assert not first.ok and code in first.text
    assert first.text == second.text


@pytest.mark.parametrize(("code", "tile"), [("E301", "xt"), ("E302", "big"), ("E305", "xt")])
def test_a_refusal_names_the_tile(code: str, tile: str) -> None:
    assert f"tile {tile} " in refused(session("none", CHIPS_TRIED[0]), code).text


@pytest.mark.parametrize("code", ["E301", "E303", "E305"])
def test_at_full_the_numbers_are_told(code: str) -> None:
    first, second = (refused(session("full", chip), code) for chip in CHIPS_TRIED)
    assert first.text != second.text


def large(chip: ChipSpec) -> set[str]:
    values = dataclasses.asdict(chip).values()
    return {str(value) for value in values if type(value) is int and value >= LARGE}


def said(text: str) -> set[str]:
    return set(re.findall(r"\d+", text.replace(",", "")))


@pytest.mark.parametrize("docs", ["none", "language"])
@pytest.mark.parametrize("chip", CHIPS_TRIED, ids=lambda chip: chip.name)
def test_no_text_of_a_session_holds_a_number_of_the_chip(docs: str, chip: ChipSpec) -> None:
    found = session(docs, chip)
    texts = [instructions(found.plan)]
    for tool in found.tools:
        if tool not in ("submit", "test", "read_docs"):
            texts.append(str(found.call(tool).as_dict()))
    for code in REFUSED:
        texts.append(str(refused(found, code).as_dict()))
    for name in pages_of(docs):
        texts.append(found.call("read_docs", {"page": name}).text)
    answer = found.call("test", {"replace": [{"old": "scale)", "new": "2.0)"}], "base": 0})
    texts.append(answer.text)
    assert large(chip)
    for text in texts:
        assert not said(text) & large(chip)
        assert chip.name not in text


def test_the_engines_do_not_tell_how_many_queues_there_are() -> None:
    found = session("none", CHIPS_TRIED[0])
    answer = found.call("test", {"replace": [{"old": "def row", "new": "def my"}], "base": 0})
    assert answer.data["cases"]
    assert not re.search(r"dma\d", str(answer.as_dict()))


def test_documents_below_full_hold_no_number_of_a_preset() -> None:
    secret = set().union(*(large(chip) for chip in CHIPS.values()))
    for docs in ("none", "language"):
        for name in pages_of(docs):
            found = said(page(name, CHIPS["m890"])) & secret
            assert not found, (name, found)


def test_the_chip_page_holds_the_numbers_of_the_session_chip() -> None:
    text = session("full", CHIPS_TRIED[1]).call("read_docs", {"page": "chip"}).text
    assert numbers(CHIPS_TRIED[1]) in text
    assert large(CHIPS_TRIED[1]) <= said(text)
    assert "generated: chip" not in text
