"""TextStore: texts by keys in a folder, for several processes at once; all of it can be lost.

SQLite of the standard library with a write-ahead log: a process that is killed at any time leaves
whole rows, and JSON is read where a cache of pickles would run what a stranger put there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from threading import Lock

FILE = "evaluations.sqlite"
ASIDE = ".damaged"  # suffix of a file that could not be read
MOST_BYTES = 256 << 20
MOST_VALUE = 1 << 20  # characters; longer ones are not kept
APPLICATION, FORMAT = 0x6D383930, 1  # "m890"
_EVERY = 256  # puts between looks at the size
_PAGE = 4096
_TRIES = 40
_WAIT = 5.0  # seconds for another process's write
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class TextStore:
    """A folder's texts by key.

    most: bytes of its file; the rows that came first go when it is full. A damaged file is put
    aside and a new one begun; a foreign one, or one that cannot be written, is left alone, and the
    store holds nothing then. told: called with a line where that happens; a warning where None.
    Nothing here raises for what is found on the disk.
    """

    def __init__(
        self, folder: Path, *, most: int = MOST_BYTES, told: Callable[[str], None] | None = None
    ) -> None:
        self.path = folder / FILE
        self.hits = self.misses = 0
        self._most, self._told = most, told
        self._lock = Lock()
        self._puts = 0
        self._renewed = False
        self._base: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._tell(f"the store {folder} is not used: {error}")
            return
        with self._lock:
            for _ in range(_TRIES):  # several processes may begin it at once
                if self._open():
                    break
                time.sleep(0.05)
            else:
                self._tell(f"the store {self.path} is not used: another process holds it")

    @property
    def works(self) -> bool:
        """Whether it keeps anything."""
        return self._base is not None

    def get(self, key: str) -> str | None:
        """The text of a key; None where there is none, or what is there is damaged."""
        with self._lock:
            row = self._do("SELECT value, sum FROM results WHERE key = ?", (key,))
            found = row is not None and type(row[0]) is str and row[1] == _sum(key, row[0])
            self.hits, self.misses = self.hits + found, self.misses + (not found)
            return str(row[0]) if row is not None and found else None

    def put(self, key: str, value: str) -> None:
        """Keep a text; one that is there already stays unless it is damaged."""
        if len(value) > MOST_VALUE:
            return
        with self._lock:
            self._do(
                "INSERT INTO results (key, value, sum) VALUES (?, ?, ?) ON CONFLICT (key) DO "
                "UPDATE SET value = excluded.value, sum = excluded.sum WHERE sum <> excluded.sum "
                "OR value <> excluded.value",
                (key, value, _sum(key, value)),
            )
            self._puts += 1
            if self._puts % _EVERY == 0:
                self._shrink()

    def close(self) -> None:
        """Close the file; the store holds nothing from then on."""
        with self._lock:
            self._close()

    def _open(self) -> bool:
        """False where another process is at it."""
        try:
            base = sqlite3.connect(
                self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._base = base
            base.execute("BEGIN")  # all three as they are at one time
            (known,) = base.execute("PRAGMA application_id").fetchone()
            (form,) = base.execute("PRAGMA user_version").fetchone()
            (tables,) = base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            base.execute("COMMIT")
            if (known, form) != (APPLICATION, FORMAT) and (tables or known or form):
                self._close()
                self._tell(f"{self.path} is no store of this version and is not used; remove it")
                return True
            base.execute(f"PRAGMA page_size = {_PAGE}")
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = NORMAL")  # a power cut loses rows, and tears none
            base.execute(f"PRAGMA max_page_count = {max(64, self._most // _PAGE)}")
            base.execute("BEGIN IMMEDIATE")
            base.execute(
                "CREATE TABLE IF NOT EXISTS results "
                "(number INTEGER PRIMARY KEY, key TEXT UNIQUE, value TEXT, sum TEXT)"
            )
            base.execute(f"PRAGMA application_id = {APPLICATION}")
            base.execute(f"PRAGMA user_version = {FORMAT}")
            base.execute("COMMIT")
        except sqlite3.Error as error:
            if _code(error) in _BUSY:
                self._close()
                return False
            self._failed(error)
        return True

    def _do(self, text: str, values: tuple[str, ...]) -> tuple[object, ...] | None:
        if self._base is None:
            return None
        try:
            row: tuple[object, ...] | None = self._base.execute(text, values).fetchone()
            return row
        except (sqlite3.Error, UnicodeError) as error:
            self._failed(error)
            return None

    def _shrink(self) -> None:
        """Drop the first quarter of the rows where the file is nearly full."""
        if self._base is None:
            return
        try:
            (pages,) = self._base.execute("PRAGMA page_count").fetchone()
            (free,) = self._base.execute("PRAGMA freelist_count").fetchone()
            if (pages - free) * _PAGE > 0.9 * self._most:
                self._drop()
        except sqlite3.Error as error:
            self._failed(error)

    def _drop(self) -> None:
        assert self._base is not None
        self._base.execute(
            "DELETE FROM results WHERE number <= (SELECT min(number) + "
            "(max(number) - min(number)) / 4 FROM results)"
        )

    def _failed(self, error: Exception) -> None:
        code = _code(error)
        if code in _BUSY and self._base is not None:
            with contextlib.suppress(sqlite3.Error):
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
            return  # another process writes for long: it is not kept this time
        if code == sqlite3.SQLITE_FULL and self._base is not None:
            with contextlib.suppress(sqlite3.Error):
                self._drop()
                return
        self._close()
        if code in _BROKEN and not self._renewed:
            self._renewed = True
            try:
                os.replace(self.path, self.path.with_name(FILE + ASIDE))
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(FILE + suffix).unlink(missing_ok=True)
            except OSError as fault:
                self._tell(f"the store {self.path} is damaged and not used: {fault}")
                return
            self._tell(
                f"the store {self.path} is damaged ({error}): it is {FILE}{ASIDE} now, and a new "
                "one begins; no result depends on it"
            )
            self._open()
            return
        self._tell(f"the store {self.path} is not used from here on: {error}")

    def _close(self) -> None:
        base, self._base = self._base, None
        if base is not None:
            with contextlib.suppress(sqlite3.Error):
                base.close()

    def _tell(self, text: str) -> None:
        if self._told is not None:
            self._told(text)
        else:
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def _code(error: Exception) -> int | None:
    """SQLite's primary code."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _sum(key: str, value: str) -> str:
    text = f"{key}\n{value}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=12).hexdigest()
