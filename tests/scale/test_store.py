"""The store: whole rows or nothing, whatever happens to the file."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.scale.store import ASIDE, FILE, TextStore
from tests.layers import ROOT


def filled(folder: Path, count: int = 50) -> Path:
    """A store with some rows; its file."""
    store = TextStore(folder)
    for number in range(count):
        store.put(f"key {number}", f"value {number} " + 100 * "x")
    store.close()
    return folder / FILE


def test_texts_come_out_as_they_went_in(tmp_path: Path) -> None:
    store, other = TextStore(tmp_path), TextStore(tmp_path)
    texts = ["", "plain", 'quotes " and \n lines', "é漢\x00", "x" * 100_000]
    for text in texts:
        store.put(text, text)
    store.put("plain", "plain")
    assert [other.get(text) for text in texts] == texts
    assert other.get("nothing") is None
    assert (other.hits, other.misses) == (len(texts), 1)
    store.put("large", "x" * (2 << 20))
    assert store.get("large") is None
    store.close()
    assert store.get("plain") is None and not store.works


def test_it_stays_below_its_size(tmp_path: Path) -> None:
    most = 1 << 20
    store = TextStore(tmp_path, most=most)
    for number in range(3000):
        store.put(f"key {number}", f"{number} " + 1000 * "x")
    assert store.works
    assert store.get("key 0") is None
    assert store.get("key 2999") == "2999 " + 1000 * "x"
    store.close()
    assert (tmp_path / FILE).stat().st_size <= most


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_damage_gives_nothing_wrong(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    path = filled(folder)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "torn"):
        content = content[: data.draw(st.integers(0, len(content)), "size")]
    else:
        at = data.draw(st.integers(0, len(content) - 64), "at")
        content[at : at + 64] = data.draw(st.binary(min_size=64, max_size=64), "bytes")
    path.write_bytes(content)
    told: list[str] = []
    store = TextStore(folder, told=told.append)
    for number in range(50):
        value = store.get(f"key {number}")
        assert value is None or value == f"value {number} " + 100 * "x"
    store.put("new", "one")
    assert store.get("new") == "one" or told
    store.close()
    shutil.rmtree(folder)


def test_a_damaged_file_is_put_aside_with_a_message(tmp_path: Path) -> None:
    path = filled(tmp_path)
    path.write_bytes(b"no store" * 1000)
    with pytest.warns(RuntimeWarning, match=r"is damaged \(file is not a database\): it is eval"):
        store = TextStore(tmp_path)
    store.put("key", "value")
    assert store.get("key") == "value" and store.get("key 1") is None
    assert path.with_name(FILE + ASIDE).read_bytes().startswith(b"no store")


def test_a_foreign_file_and_an_unwritable_place_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    path = tmp_path / "foreign" / FILE
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE results (mine TEXT)")
    base.commit()
    base.close()
    before = path.read_bytes()
    with pytest.warns(RuntimeWarning, match="is no store of this version and is not used"):
        store = TextStore(path.parent)
    store.put("key", "value")
    assert store.get("key") is None and not store.works
    assert path.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match="is not used"):
        assert not TextStore(tmp_path / "file").works
    (tmp_path / "taken" / FILE).mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match="is not used from here on: unable to open"):
        assert not TextStore(tmp_path / "taken").works


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_processes_that_are_killed_while_they_write(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from m890sim.scale.store import TextStore\n"
        f"store = TextStore(Path({str(tmp_path)!r}))\n"
        "for number in range(10**9):\n"
        "    store.put(f'{sys.argv[1]} {number}', f'value {number} ' + 1000 * 'x')\n"
        "    number == 300 and print('on', flush=True)"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "on\n"
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    store = TextStore(tmp_path, told=pytest.fail)
    for number in range(300):
        for name in "ab":
            assert store.get(f"{name} {number}") == f"value {number} " + 1000 * "x"
    store.put("key", "value")
    assert store.get("key") == "value"
