"""Ladders that an instructor withholds."""

from __future__ import annotations

import pytest

from m890sim.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ladder", "vector_add"], "the ladder of vector_add is withheld here (M890_WITHHELD)"),
        (["fmt", "vector_add_expert"], "vector_add_reference is the kernel to begin with"),
        (["profile", "vector_add_1_no_fences"], "is withheld here"),
    ],
)
def test_what_is_withheld_is_refused(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("M890_WITHHELD", "matmul, vector_add")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_references_and_other_tasks_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("M890_WITHHELD", "vector_add")
    assert main(["fmt", "vector_add_reference", "matmul_expert"]) == 0
    monkeypatch.setenv("M890_WITHHELD", "all")
    assert main(["fmt", "matmul_expert"]) == 2
    capsys.readouterr()
    assert main(["ladder"]) == 0
    assert "step" not in capsys.readouterr().out


def test_a_name_that_is_no_task_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("M890_WITHHELD", "vector_ad")
    assert main(["ladder", "matmul"]) == 2
    assert "names 'vector_ad', which is no task; known: extend, decode" in capsys.readouterr().err
