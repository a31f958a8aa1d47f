"""Malformed and hostile kernel files: each gives its codes at its places, quickly.

`bank/expected.txt` lists code@line:column for every file, `bank/messages.txt` is the golden text of
all errors.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from m890sim.errors import CODES, LanguageError, LimitError, M890Error
from m890sim.language import load_kernel, parse
from tests.language.hostile import HOSTILE

BANK = Path(__file__).parent / "bank"
# A hang would take minutes; slow machines that do other work take seconds.
PATIENCE_SECONDS = 20.0


def expected_errors() -> dict[str, list[str]]:
    lines = (BANK / "expected.txt").read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0]: row[1:] for row in rows}


EXPECTED = expected_errors()


def refusal(text: str | bytes, filename: str) -> M890Error:
    """The error of a text; any other outcome fails the test."""
    start = time.monotonic()
    with pytest.raises((LanguageError, LimitError)) as caught:
        parse(text, filename)
    assert time.monotonic() - start < PATIENCE_SECONDS
    return caught.value


def places(error: M890Error) -> list[str]:
    """code@line:column of every error."""
    if isinstance(error, LanguageError):
        return [f"{d.code}@{d.line}:{d.column}" for d in error.diagnostics]
    assert isinstance(error, LimitError)
    return [f"{error.code}@{':'.join(error.where.split(':')[-2:])}"]


def test_bank_and_its_table_match() -> None:
    assert sorted(path.name for path in BANK.glob("*.py")) == sorted(EXPECTED)
    assert len(EXPECTED) >= 60


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_file_gives_its_codes(name: str) -> None:
    actual = places(refusal((BANK / name).read_bytes(), name))
    expected = EXPECTED[name]
    # Where Python itself refuses a text, the column is its own and differs between versions.
    syntax = re.compile(r"(E102@\d+):\d+")
    assert [syntax.sub(r"\1", row) for row in actual] == [
        syntax.sub(r"\1", row) for row in expected
    ]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_messages_have_place_finding_and_remedy(name: str) -> None:
    text = str(refusal((BANK / name).read_bytes(), name))
    assert "Traceback" not in text and "<error>" not in text
    for line in text.splitlines():
        assert re.fullmatch(r"[a-z0-9_]+\.py:\d+:\d+: E\d{3} .+; .+", line), line
        assert line.isprintable()


def test_messages_are_golden(golden: Callable[[Path, str], None]) -> None:
    lines: list[str] = []
    for name in sorted(EXPECTED):
        for line in str(refusal((BANK / name).read_bytes(), name)).splitlines():
            # Python's own words differ between its versions.
            lines.append(re.sub(r":\d+: E102 .*", ": E102 ...", line))
    golden(BANK / "messages.txt", "\n".join(lines) + "\n")


def test_every_code_of_the_language_is_in_the_bank() -> None:
    found = {row.split("@")[0] for rows in EXPECTED.values() for row in rows}
    found |= {code for _, codes in HOSTILE.values() for code in codes}
    # E100 and E228 come from no text: tested with files and with built kernels.
    wanted = {code for code in CODES if code[1] in "12"} | {"E501", "E502", "E503", "E504"}
    assert wanted - found == {"E100", "E228"}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_text_is_refused_quickly(name: str) -> None:
    text, codes = HOSTILE[name]
    actual = {row.split("@")[0] for row in places(refusal(text, f"{name}.py"))}
    assert actual <= set(codes)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match=r"missing\.py:1:1: E100 the file cannot be read \(No "):
        load_kernel(tmp_path / "missing.py")


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match="E100"):
        load_kernel(tmp_path)


def test_path_with_null_is_refused() -> None:
    with pytest.raises(LanguageError, match="E100"):
        load_kernel("a\0b.py")
