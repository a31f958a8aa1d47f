"""Placement of tiles and capacity: gates at N and N + 1, and properties on generated tiles."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.bind.memory import Placement, TileSpace, banks, misplaced, place
from m890sim.chip import M890, M890_MINI
from m890sim.errors import BindError


def tile(name: str, space: str, size: int, slots: int = 1, at: int | None = None) -> TileSpace:
    return TileSpace(name, space, 1, size, 1, slots, at, "kernel.py:3:9")


@pytest.mark.parametrize(
    ("space", "capacity", "code"),
    [("sram", M890.sram_bytes, "E301"), ("acc", M890.acc_bytes, "E302")],
)
def test_a_full_memory_fits_and_one_byte_more_does_not(
    space: str, capacity: int, code: str
) -> None:
    place([tile("a", space, capacity // 2, slots=2)], M890)
    with pytest.raises(BindError) as caught:
        place([tile("a", space, capacity // 2, slots=2), tile("b", space, 1)], M890)
    message = str(caught.value)
    assert message.startswith(f"kernel.py:3:9: {code} no room for tile b")
    assert f"take {capacity + 64} bytes of {space.upper()}, m890 has {capacity} bytes" in message
    assert f"(largest: a 1 x {capacity // 2} x 2 slots = {capacity} bytes, b 1 x 1 = 64" in message


@pytest.mark.parametrize(
    ("space", "capacity", "code"),
    [("sram", M890.sram_bytes, "E301"), ("acc", M890.acc_bytes, "E302")],
)
def test_an_empty_tile_takes_no_room_and_one_byte_takes_64(
    space: str, capacity: int, code: str
) -> None:
    full = tile("a", space, capacity)
    for rows, cols in ((0, 128), (128, 0), (0, 0)):
        empty = TileSpace("e", space, rows, cols, 4, 4096, None, "kernel.py:3:9")
        assert empty.slot_bytes == 0
        for tiles in ([full, empty], [empty, full]):
            at = tiles.index(empty)
            assert place(tiles, M890)[at] == [-1] * 4096
            assert place(tiles, M890)[1 - at] == place([full], M890)[0]
    with pytest.raises(BindError, match=f"{code} no room for tile b.* take {capacity + 64} bytes"):
        place([full, tile("e", space, 0), tile("b", space, 1)], M890)


def test_an_empty_tile_asks_for_a_bank_that_is_there() -> None:
    assert place([tile("e", "sram", 0, at=15)], M890) == [[-1]]
    with pytest.raises(BindError, match="E305 tile e asks for bank 16"):
        place([tile("e", "sram", 0, at=16)], M890)


def test_room_in_pieces_is_refused_with_what_is_missing() -> None:
    asked = TileSpace("a", "sram", 64, 512, 2, 1, 15, "kernel.py:3:9")
    with pytest.raises(BindError) as caught:
        place([asked], M890)
    assert str(caught.value) == (
        "kernel.py:3:9: E301 no room for tile a: the phase's tiles take 65536 of the 524288 bytes "
        "of SRAM that m890 has a core, and no free piece from bank 15 on has the 65536 bytes of a "
        "slot; change at=, declare large tiles first, or use smaller tiles or fewer slots "
        "(largest: a 64 x 512 = 65536 bytes)"
    )


def test_a_bank_that_is_not_there_is_refused() -> None:
    place([tile("a", "sram", 64, at=15)], M890)
    with pytest.raises(BindError, match="E305 tile a asks for bank 16, m890 has banks 0 to 15"):
        place([tile("a", "sram", 64, at=16)], M890)


def test_a_negative_shape_is_refused() -> None:
    with pytest.raises(BindError, match="E307 tile a has shape 1 x -5"):
        place([tile("a", "sram", -5)], M890)


def test_large_slots_start_banks_and_small_ones_share_them() -> None:
    bank = M890.bank_bytes
    small, large, pinned = tile("s", "sram", 512), tile("l", "sram", bank, 2), tile("p", "sram", 64)
    addresses = place([small, large, pinned, tile("a", "sram", 512, at=9)], M890)
    assert addresses == [[0], [bank, 2 * bank], [512], [9 * bank]]


def test_a_slot_without_a_free_bank_fills_the_gaps() -> None:
    bank = M890.bank_bytes
    tiles = [tile(f"t{i}", "sram", bank // 2 + 64) for i in range(16)]
    # All banks begun, 16 gaps of less than half a bank: the next large slot finds none of them.
    place([*tiles, tile("small", "sram", bank // 2 - 64)], M890)
    with pytest.raises(BindError, match="E301"):
        place([*tiles, tile("large", "sram", bank // 2)], M890)


TILES = st.lists(
    st.builds(
        tile,
        st.just("t"),
        st.sampled_from(["sram", "acc"]),
        st.just(0) | st.integers(0, 9000),
        st.integers(1, 3),
        st.none() | st.integers(0, M890_MINI.sram_banks - 1),
    ),
    max_size=8,
)


@given(tiles=TILES)
def test_slots_lie_apart_and_banks_cover_their_bytes(tiles: list[TileSpace]) -> None:
    try:
        addresses = place(tiles, M890_MINI)
    except BindError as error:
        assert error.code in ("E301", "E302")
        return
    taken: set[int] = set()
    for space, row in zip(tiles, addresses, strict=True):
        assert len(row) == space.slots
        for address in row:
            if space.space == "acc":
                assert address == -1 and banks(address, space.tile_bytes, M890_MINI) == 0
                continue
            if space.tile_bytes == 0:
                assert address == -1 and banks(address, 0, M890_MINI) == 0
                continue
            slot = range(address, address + space.slot_bytes)
            assert taken.isdisjoint(slot) and slot[-1] < M890_MINI.sram_bytes
            taken.update(slot)
            held = {byte // M890_MINI.bank_bytes for byte in slot[: space.tile_bytes]}
            expected = sum(1 << bank for bank in held)
            assert banks(address, space.tile_bytes, M890_MINI) == expected
            if space.at is not None:
                assert address >= space.at * M890_MINI.bank_bytes


@given(tiles=TILES, banks=st.integers(1, 8))
def test_every_reason_is_found_where_one_is(tiles: list[TileSpace], banks: int) -> None:
    """`misplaced` names what `place` stops at, and nothing where `place` goes through."""
    chip = replace(M890, sram_banks=banks, sram_bytes=banks * M890.bank_bytes, acc_bytes=2**14)
    found = [error.code for error in misplaced(tiles, chip)]
    try:
        place(tiles, chip)
    except BindError as error:
        assert error.code in found
    else:
        assert found == []


@given(tiles=TILES)
def test_one_tile_after_the_other_lies_where_all_together_do(tiles: list[TileSpace]) -> None:
    placed: Placement | None = Placement.empty(M890_MINI)
    rows = []
    for t in tiles:
        assert placed is not None
        fixed, size = (t.space, t.itemsize, t.slots, t.at), (t.rows, t.cols)
        before, placed = placed, placed.then(fixed, size, M890_MINI)
        assert before.known(fixed, size) is placed
        if placed is None:
            with pytest.raises(BindError):
                place(tiles, M890_MINI)
            return
        rows.append(placed.row)
    expected = [
        [part for at in row for part in (banks(at, t.tile_bytes, M890_MINI), at)]
        for t, row in zip(tiles, place(tiles, M890_MINI), strict=True)
    ]
    assert rows == expected


@pytest.mark.parametrize(
    "wrong",
    [
        TileSpace("t", "sram", -1, 8, 1, 1, None, ""),
        TileSpace("t", "acc", 8, -1, 1, 1, None, ""),
        tile("t", "sram", 64, at=M890_MINI.sram_banks),
        tile("t", "sram", 0, at=-1),
        tile("t", "sram", M890_MINI.sram_bytes + 1),
        tile("t", "acc", M890_MINI.acc_bytes // 2 + 64, slots=2),
    ],
)
def test_what_cannot_be_placed_is_not(wrong: TileSpace) -> None:
    fixed, size = (wrong.space, wrong.itemsize, wrong.slots, wrong.at), (wrong.rows, wrong.cols)
    assert Placement.empty(M890_MINI).then(fixed, size, M890_MINI) is None
    with pytest.raises(BindError):
        place([wrong], M890_MINI)


@given(tiles=TILES)
def test_empty_tiles_move_no_other_tile(tiles: list[TileSpace]) -> None:
    others = [space for space in tiles if space.tile_bytes]
    try:
        alone = place(others, M890_MINI)
    except BindError as error:
        with pytest.raises(BindError) as caught:
            place(tiles, M890_MINI)
        assert caught.value.code == error.code
        return
    together = place(tiles, M890_MINI)
    assert [row for t, row in zip(tiles, together, strict=True) if t.tile_bytes] == alone


def test_thousands_of_slots_are_placed_quickly() -> None:
    # First fit over ranges that are kept apart takes seconds here.
    fitting = M890.sram_bytes // 64
    (addresses,) = place([tile("a", "sram", 64, slots=fitting)], M890)
    assert addresses == list(range(0, M890.sram_bytes, 64))
    with pytest.raises(BindError, match="64000000000 bytes of SRAM"):
        place([tile("a", "sram", 1, slots=10**9)], M890)
