"""The language manual: every kernel in it is right, and printed as the printer would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from m890sim.kernel import print_kernel
from m890sim.language import parse

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "language.md"
KERNELS = re.findall(r"```python\n(.*?)```", MANUAL.read_text("utf-8"), re.S)


@pytest.mark.parametrize("text", KERNELS, ids=lambda text: re.search(r"def (\w+)", text)[1])
def test_kernel_of_the_manual_is_right(text: str) -> None:
    assert print_kernel(parse(text)) == text


def test_manual_has_its_tables_and_kernels() -> None:
    text = MANUAL.read_text("utf-8")
    assert "<!-- generated: isa -->" in text and "<!-- generated: codes -->" in text
    assert len(KERNELS) >= 4
