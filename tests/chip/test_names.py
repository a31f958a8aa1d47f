"""Chips by name: presets, drawn ones and files, in whatever takes a chip."""

from __future__ import annotations

from pathlib import Path

import pytest

from m890sim import KernelSession, draw_chip, evaluate, get_chip, judge_kernel
from m890sim.chip import CHIPS, M890, check_identity, chip_of
from m890sim.chip.files import chip_text
from m890sim.errors import ChipError
from m890sim.workloads import get_task, load_kernel, lower_bound_cycles, simulate

NAMES = ("balanced:test:7", "cramped:test:0", "few-exponentials:train:12")


@pytest.mark.parametrize("name", NAMES)
def test_name_stands_for_the_draw(name: str) -> None:
    family, split, number = name.split(":")
    expected = draw_chip(family, split, int(number))
    assert get_chip(name) == chip_of(name) == expected
    assert chip_of(expected) is expected
    check_identity(expected)


@pytest.mark.parametrize(
    "name", ["small:test:07", "small:test:+7", "small:test: 7", "small:test:7_0", "small:test:٧"]
)
def test_a_chip_has_one_spelling(name: str) -> None:
    with pytest.raises(ChipError, match="is no chip of family small: write small:SPLIT:NUMBER"):
        get_chip(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m890_mini", "unknown chip 'm890_mini'; did you mean m890-mini"),
        ("", "unknown chip ''; the chips are: m890"),
        ("x" * 5000, "unknown chip 'xxx"),
        ("foo:test:1", "unknown chip family 'foo'; the families are: balanced"),
        (":", "unknown chip family ''"),
        ("small:", "is no chip of family small"),
        ("small:test:1:2", "is no chip of family small"),
        (f"small:test:{'9' * 10_000}", "is no chip of family small"),
    ],
)
def test_unknown_name_is_refused(name: str, message: str) -> None:
    with pytest.raises(ChipError, match=message) as caught:
        get_chip(name)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [None, 890, b"m890", M890])
def test_name_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="a chip's name must be a text, not"):
        get_chip(value)  # type: ignore[arg-type]


def test_other_numbers_under_a_known_name_are_refused() -> None:
    for chip in (*CHIPS.values(), get_chip("small:test:3")):
        with pytest.raises(ChipError, match="and has other numbers than that one; give it a name"):
            check_identity(chip.replace(launch_cycles=chip.launch_cycles + 1))
    check_identity(M890.replace(name="of my own", cores=3))


@pytest.mark.parametrize("name", NAMES)
def test_session_begins_at_the_reference_of_the_chip(name: str) -> None:
    session = KernelSession("extend", ["prefill-256"], name, verify="never")
    entry = session.evaluate()
    chip = get_chip(name)
    (case,) = entry.cases
    assert session.kernel == get_task("extend").reference_on(chip)
    assert case.cycles == case.reference_cycles and session.chip == chip
    assert case.lower_bound_cycles == lower_bound_cycles(session.cases[0], chip)
    assert session.report()["chip_digest"] == chip.digest


def test_judge_takes_a_drawn_chip_and_a_file(tmp_path: Path) -> None:
    name = "cramped:test:0"
    path = tmp_path / "saved.toml"
    path.write_text(chip_text(get_chip(name)), encoding="utf-8")
    found = [evaluate("vector_add_reference", "vector_add", chip) for chip in (name, str(path))]
    assert found[0] == found[1] and found[0].correct and found[0].speedup == 1.0
    assert found[0].basis.chip_digest == get_chip(name).digest
    judged = judge_kernel("vector_add_reference", "vector_add", str(path), hidden=4, seed=1)
    assert judged.correct and judged.hidden.speedup == 1.0


def test_reference_falls_back_where_it_does_not_fit() -> None:
    chip = get_chip("cramped:test:0")
    assert load_kernel("attention_reference", chip).tunables == {"BQ": 32, "BK": 32}
    assert load_kernel("vector_add_reference", chip).tunables == {"BR": 8}
    assert load_kernel("attention_expert", chip) == load_kernel("attention_expert")
    as_written = load_kernel("attention_reference")
    assert load_kernel("attention_reference", get_chip("balanced:test:7")) == as_written
    assert load_kernel("attention_reference", CHIPS["m890-mini"]) == as_written


def test_reference_is_halved_no_more_than_it_must() -> None:
    """A twin that counts bytes: 64 rows of 256 elements need more than `cramped:test:0` has."""
    chip, task = get_chip("cramped:test:0"), get_task("extend")
    for block, fits in ((64, False), (32, True)):
        rows = 4 * block * 256 * 2 + block * block * 2 + 5 * block * 4
        accumulator = 4 * block * (block + 256)
        assert (rows <= chip.sram_bytes and accumulator <= chip.acc_bytes) is fits
    case = next(c for c in task.hidden_cases(40, 0) if c.symbols["D"] == 256)
    assert simulate(task.reference_on(chip), case, chip).cycles > 0
