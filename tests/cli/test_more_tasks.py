"""Every command takes the further tasks by name."""

from __future__ import annotations

import pytest

import m890sim
from m890sim.cli import main
from m890sim.workloads.more import MORE


@pytest.mark.parametrize("name", MORE)
def test_commands(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    reference = f"{name}_reference"
    case = ["--case", m890sim.get_task(name).cases[-1].name]
    drawn = ["--hidden", "1", "--seed", "1", "--rows", "16"]
    for command, shown in (
        (["tasks", name], reference),
        (["check", reference, "--task", name], "well formed"),
        (["run", reference, "--task", name, *case], "right"),
        (["edits", reference, "--task", name], f"legal edits of {reference}"),
        (["judge", reference, "--task", name, *drawn, *case], "every gate"),
        (["optimize", name, "--evaluations", "3", "--hidden", "0", "--out", "run", *case], name),
        (["verify", "run"], ""),
    ):
        assert main(command) == 0, command
        assert shown in capsys.readouterr().out


def test_the_list_has_them(capsys):
    assert main(["tasks"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in MORE if name not in shown] == []


def test_a_kernel_s_task_is_guessed_from_its_parameters(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fmt", "grouped_gemm_reference"]) == 0
    text = capsys.readouterr().out.replace("grouped_gemm_reference", "mine")
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    assert main(["run", "mine.py"]) == 0
    assert "task grouped_gemm, guessed from the kernel's parameters" in capsys.readouterr().out


def test_their_references_are_among_the_kernels(capsys):
    assert main(["kernels"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in MORE if f"{name}_reference" not in shown] == []
