"""The chip: presets, replacement of fields, and the refusal of what cannot exist."""

from __future__ import annotations

import dataclasses

import pytest

from m890sim.chip import CHIPS, M890, ChipSpec, get_chip
from m890sim.errors import ChipError

NUMBERS = [entry.name for entry in dataclasses.fields(ChipSpec) if entry.name != "name"]


def test_presets_are_named_by_their_key() -> None:
    assert list(CHIPS)[:3] == ["m890", "m890-mini", "m890-lean"]
    assert all(chip.name == name for name, chip in CHIPS.items())


def test_lean_differs_from_m890_in_what_it_is_named_for() -> None:
    lean, full = CHIPS["m890-lean"], M890
    changed = {name for name in NUMBERS if getattr(lean, name) != getattr(full, name)}
    assert changed == {
        "vector_f32_lanes",
        "vector_bf16_lanes",
        "sfu_elements_per_cycle",
        "hbm_bytes_per_cycle",
    }


def test_unknown_chip_lists_the_chips() -> None:
    with pytest.raises(ChipError, match="unknown chip 'm891'; did you mean m890") as caught:
        get_chip("m891")
    assert "The chips are: m890, m890-mini, m890-lean, FAMILY:SPLIT:NUMBER" in str(caught.value)


@pytest.mark.parametrize("name", NUMBERS)
def test_any_field_can_be_replaced(name: str) -> None:
    value = getattr(M890, name) * 2
    if name == "sram_banks":
        value = 32
    changed = M890.replace(**{name: value})
    assert getattr(changed, name) == value
    assert changed.replace(**{name: getattr(M890, name)}) == M890


@pytest.mark.parametrize("name", NUMBERS)
def test_a_value_below_the_least_is_refused_with_the_fields_name(name: str) -> None:
    least = {entry.name: entry.metadata["least"] for entry in dataclasses.fields(ChipSpec)[1:]}
    with pytest.raises(ChipError, match=f"{name} must be at least {least[name]}, not"):
        M890.replace(**{name: least[name] - 1})


@pytest.mark.parametrize("value", [1.5, "16", None, True])
def test_a_value_that_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(ChipError, match="cores must be an integer, not"):
        M890.replace(cores=value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cores": 1025}, "cores must be at most 1024"),
        ({"sram_banks": 63}, "sram_banks must be at most 62"),
        ({"dma_queues": 17}, "dma_queues must be at most 16"),
        ({"dma_in_flight": 5000}, "dma_in_flight must be at most 4096"),
        ({"sram_bytes": 2**40 + 1}, r"sram_bytes must be at most 2\*\*40"),
        ({"sram_bytes": 1000}, r"sram_bytes must be a multiple of sram_banks \(16\), not 1000"),
        ({"hbm_bytes_per_cycle": 1, "hbm_window_cycles": 8}, "dma_bytes_per_cycle must be at most"),
        (
            {"sram_bytes": 16000},
            r"sram_bytes must hold a stationary block, .* \(16384\), not 16000",
        ),
        (
            {"matrix_rows": 8192},
            r"sram_bytes must hold a stationary block, matrix_rows \* matrix_col",
        ),
        ({"acc_bytes": 511}, r"acc_bytes must hold a row .* \(512\), not 511"),
        ({"name": ""}, "name must be 1 to 100 printable characters"),
        ({"sram_kilobytes": 1}, "sram_kilobytes is no field of a chip; the fields are: acc_bytes,"),
    ],
)
def test_impossible_chips_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ChipError, match=message):
        M890.replace(**changes)


def test_every_field_says_what_it_is_and_where_it_comes_from() -> None:
    for entry in dataclasses.fields(ChipSpec)[1:]:
        assert entry.metadata["text"]
        assert entry.metadata["source"] in ("design", "chosen")


@pytest.mark.parametrize(
    "name",
    [
        'mine\nimport os; os.system("id")\n#',
        "\x1b[31mred",
        "a\0b",
        "\ud800",
        "x" * 101,
        "",
        5,
        None,
    ],
)
def test_name_that_is_no_line_of_text_is_refused(name: object) -> None:
    with pytest.raises(ChipError, match="name must be") as caught:
        M890.replace(name=name)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 200
    assert M890.replace(name="x" * 100).name == "x" * 100


def test_number_of_any_size_is_named() -> None:
    with pytest.raises(ChipError, match="cores must be at most .* an integer of 16610 bits"):
        M890.replace(cores=10**5000)
