"""`m890 optimize`: what it prints, what it writes, how it ends, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from m890sim.agents import AGENTS, DEFAULT_AGENT
from m890sim.cli import main
from m890sim.cli.optimize import best_label

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
SMALL = ("vector_add", "--cases", "add-600x96", "--evaluations", "8")
FILES = {
    "manifest.json",
    "evaluations.jsonl",
    "best.py",
    "result.json",
    "speedup.png",
    "times.json",
}


def test_optimize_shows_the_result_against_what_it_was_measured(
    tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "run"
    assert main(["optimize", *SMALL, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert {entry.name for entry in out.iterdir()} == FILES
    for word in (
        "reference cycles",
        "bound",
        "add-600x96",
        "right",
        "Where the cycles of",
        "seed 0",
    ):
        assert word in captured.out
    for line in ("10x", "7.3x", "5x", "3.3x"):
        assert line in captured.out
    assert "published for real hardware" in captured.out
    assert "not results of this simulator" in captured.out
    assert str(out) in captured.out and "8 evaluations of 8 spent" in captured.out
    assert "evaluation 8 of 8: best" in captured.err


def test_json_is_one_object_and_resume_gives_the_same(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "run"
    found = []
    for where in (("--out", str(out)), ("--resume", str(out))):
        given = SMALL if where[0] == "--out" else ()
        assert main(["optimize", *given, *where, "--json"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        found.append(json.loads(captured.out))
    assert found[0] == found[1]
    assert found[0]["run"] == str(out) and found[0]["spent"] == 8
    assert found[0]["agent"] == DEFAULT_AGENT and found[0]["task"] == "vector_add"
    case = found[0]["evaluation"]["cases"][0]
    assert case["correct"] and case["reference_cycles"] > case["cycles"] > 0
    assert found[0]["speedup"] == pytest.approx(case["speedup"])


def test_directory_has_a_name_of_its_own_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["optimize", *SMALL[:3], "--evaluations", "2", "--agent", "greedy", "--json"]
    for expected in ("vector_add-greedy-seed0", "vector_add-greedy-seed0-2"):
        assert main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["run"] == f"runs/{expected}"
    assert main([*arguments, "--seed", "3", "--chip", "m890-lean"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "runs/vector_add-m890-lean-greedy-seed3"


def test_start_kernel_and_chip_are_taken(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "run"
    kernel = tmp_path / "mine.py"
    assert main(["fmt", "vector_add_expert"]) == 0
    kernel.write_text(capsys.readouterr().out)
    arguments = ["optimize", *SMALL[:3], "--evaluations", "1", "--start", str(kernel)]
    assert main([*arguments, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["speedup"] > 2 and found["best"]["index"] == 0
    kernel.unlink()  # the run has its own copy
    assert main(["optimize", "--resume", str(out), "--json"]) == 0


def test_agents_are_listed(capsys: Capture) -> None:
    assert main(["optimize", "--agent", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in AGENTS) and f"{DEFAULT_AGENT} (default)" in shown


def test_label_names_the_next_published_figure() -> None:
    assert best_label(1.0) == "best 1.00x, next 3.3x (published, real hardware)"
    assert best_label(7.3) == "best 7.30x, next 10x (published, real hardware)"
    assert best_label(12.0) == "best 12.00x, beyond 10x (published, real hardware)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extent"], "unknown task"),
        (["vector_add", "--agent", "nobody"], "unknown agent 'nobody'; there are: random-walk"),
        (["vector_add", "--chip", "m891"], "m891"),
        (["vector_add", "--cases", "none"], "unknown case of task vector_add: 'none'"),
        (["vector_add", "--start", "nothing"], "unknown kernel: 'nothing'"),
        (["vector_add", "--start", "decode_reference"], "decode_reference"),
        (["vector_add", "--seed", "-1"], "must be an integer of at least 0, not -1"),
        (["vector_add", "--evaluations", "0"], "must be an integer of at least 1, not 0"),
        (["vector_add", "--evaluations", "many"], "must be an integer of at least 1, not many"),
        (["--resume", "none"], "none does not exist; --resume takes the directory"),
        (["vector_add", "--seed", "1", "--resume", "x"], "leave out TASK and --seed"),
        (["--out", "x", "--resume", "x"], "not allowed with"),
    ],
)
def test_refusals_have_a_message_and_make_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["optimize", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


def test_used_directory_is_refused(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear")
    assert main(["optimize", *SMALL, "--out", str(tmp_path / "mine")]) == 2
    assert "is not empty; choose another directory with --out" in capsys.readouterr().err
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert main(["optimize", "--resume", str(tmp_path / "mine")]) == 2
    assert "is no run directory: it has no manifest.json" in capsys.readouterr().err


def test_ctrl_c_ends_with_the_best_so_far_and_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "m890sim.cli", "optimize"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, "vector_add", "--evaluations", "100", "--out", str(out)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background with SIGINT ignored, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("evaluation"):
            break
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted, with the best so far saved." in shown
    assert f"m890 optimize --resume {out}" in shown and "not judged in full" in shown
    assert {entry.name for entry in out.iterdir()} == FILES
    result = json.loads((out / "result.json").read_text("utf-8"))
    assert result["interrupted"] and result["evaluation"] is None and result["best"]
    assert 0 < result["spent"] < 100


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_progress_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "m890sim.cli"]
    search = [*command, "optimize", *SMALL, "--out", str(tmp_path / "run")]
    with open("/dev/full", "w") as full:
        found = subprocess.run(search, cwd=ROOT, stdout=subprocess.PIPE, stderr=full, timeout=120)
    assert found.returncode == 0 and b"8 evaluations of 8 spent" in found.stdout
    for words in (["check", "nope.py"], ["verify", "nope"], ["judge", "nope.py"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([*command, *words], cwd=ROOT, stderr=full, timeout=120)
        assert done.returncode == 2


def test_agents_are_listed_as_json(capsys: Capture) -> None:
    assert main(["optimize", "--agent", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in found["agents"]} == set(AGENTS)
    assert found["default"] == DEFAULT_AGENT and all(entry["text"] for entry in found["agents"])


def test_settings_of_matplotlib_in_the_folder_change_no_picture(tmp_path: Path) -> None:
    pictures = []
    for name in ("plain", "strange"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "strange":
            settings = "text.usetex: True\nlines.color: r\nfont.size: 40\naxes.facecolor: k\n"
            (folder / "matplotlibrc").write_text(settings)
        command = [sys.executable, "-P", "-m", "m890sim.cli", "optimize", *SMALL, "--out", "run"]
        subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=True)
        pictures.append((folder / "run" / "speedup.png").read_bytes())
    assert pictures[0] == pictures[1]
