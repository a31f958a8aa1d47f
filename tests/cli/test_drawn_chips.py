"""Every command that takes a chip takes `family:split:number` and the path of a TOML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import m890_envs  # noqa: F401  (registers the environments)
from m890sim import KernelSession, draw_chip, get_chip
from m890sim.chip.files import chip_text
from m890sim.cli import main
from m890sim.errors import ChipError

Capture = pytest.CaptureFixture[str]
DRAWN = "cramped:test:0"
REFERENCE, EXPERT, CASE = "vector_add_reference", "vector_add_expert", "add-600x96"
COMMANDS = (
    ("chips",),
    ("chips", "--draw"),
    ("run", REFERENCE, "--case", CASE, "--chip"),
    ("check", REFERENCE, "--chip"),
    ("judge", REFERENCE, "--case", CASE, "--hidden", "1", "--chip"),
    ("edits", REFERENCE, "--chip"),
    ("ladder", "vector_add", "--chip"),
    ("optimize", "vector_add", "--evaluations", "2", "--chip"),
)
BAD = {
    "file with an unknown field": 'inherit = "m890"\ndma_queus = 2\n',
    "file with a float": 'inherit = "m890"\ncores = 4.0\n',
    "file with too many cores": f'inherit = "m890"\ncores = {2**63}\n',
    "binary file": "\0\1\2",
}
BAD_NAMES = ("balanced:tests:1", "balanced:test:-1", "balancd:test:1", "balanced:test:4294967296")


@pytest.fixture(params=["name", "file"])
def chip(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same chip, by its name and by a file."""
    if request.param == "name":
        return DRAWN
    path = tmp_path / "saved.toml"
    path.write_text(chip_text(get_chip(DRAWN)), encoding="utf-8")
    return str(path)


def printed(capsys: Capture, *words: str) -> dict[str, Any]:
    """The JSON object that a command prints; it ends with status 0."""
    status = main([*words, "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    found = json.loads(captured.out)
    assert isinstance(found, dict)
    return found


def test_commands_take_the_chip(chip: str, capsys: Capture) -> None:
    run = printed(capsys, "run", REFERENCE, "--case", CASE, "--chip", chip)
    assert run["chip"] == DRAWN and run["speedup"] == 1.0
    judged = printed(capsys, "judge", REFERENCE, "--case", CASE, "--hidden", "1", "--chip", chip)
    assert judged["correct"] and judged["speedup"] == 1.0
    ladder = printed(capsys, "ladder", "vector_add", "--chip", chip)
    assert ladder["chip"] == DRAWN
    assert printed(capsys, "check", REFERENCE, "--chip", chip)
    assert printed(capsys, "edits", REFERENCE, "--chip", chip)["chip"] == DRAWN


def test_expert_with_too_many_queues_is_refused_by_name(capsys: Capture) -> None:
    chip = next(
        name
        for name in (f"balanced:test:{number}" for number in range(30))
        if get_chip(name).dma_queues == 2
    )
    main(["run", EXPERT, "--case", CASE, "--chip", chip])
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "E3" in shown and "queue" in shown and "Traceback" not in shown


def test_run_is_optimised_packed_and_verified(chip: str, tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "run")
    words = ("optimize", "vector_add", "--evaluations", "4", "--cases", CASE, "--out", out)
    printed(capsys, *words, "--chip", chip)
    if chip != DRAWN:
        Path(chip).unlink()  # a record needs no file
    assert printed(capsys, "verify", out)["verified"]
    packed = str(tmp_path / "packed.json")
    assert main(["submit", out, "--out", packed]) == 0
    capsys.readouterr()
    assert printed(capsys, "verify", packed)["verified"]


@pytest.mark.parametrize("actions", ["macro", "single"])
def test_environment_takes_the_chip(chip: str, actions: str) -> None:
    env = gym.make(
        "M890/KernelEdit-v0", task="vector_add", cases=[CASE], chip=chip, actions=actions
    )
    _, info = env.reset(seed=0)
    assert info["speedup"] == 1.0
    assert env.unwrapped.session.chip == draw_chip("cramped", "test", 0)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_bad_chip_ends_every_command_with_status_2(
    words: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    chips = [*BAD_NAMES, str(tmp_path / "none.toml"), str(tmp_path)]
    for number, text in enumerate(BAD.values()):
        path = tmp_path / f"bad-{number}.toml"
        path.write_text(text, encoding="utf-8")
        chips.append(str(path))
    for name in chips:
        assert main([*words, name]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("m890: "), name
        assert "Traceback" not in captured.err and len(captured.err) < 700


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_chip_is_refused_in_python(name: str) -> None:
    with pytest.raises(ChipError):
        KernelSession("vector_add", chip=name)
    with pytest.raises(ChipError):
        gym.make("M890/KernelEdit-v0", task="vector_add", chip=name)


@pytest.mark.parametrize("chip", [7, None, True, b"m890"])
def test_chip_of_another_type_is_refused_in_python(chip: object) -> None:
    with pytest.raises(TypeError, match="chip must be a ChipSpec or its name, not"):
        KernelSession("vector_add", chip=chip)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="chip must be a ChipSpec or its name, not"):
        gym.make("M890/KernelEdit-v0", task="vector_add", chip=chip)
