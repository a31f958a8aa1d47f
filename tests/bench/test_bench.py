"""bench: runs as records, resumed, verified; the same for any number of workers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from m890sim.agents.agent import Agent
from m890sim.agents.reading import RunError
from m890sim.agents.registry import AGENTS, AgentError
from m890sim.bench.bench import as_dict, bench
from m890sim.bench.entrants import agent_of, entrant, specs_of
from m890sim.bench.protocol import Protocol
from m890sim.bench.verification import RESULTS, is_bench, verify_bench
from m890sim.cli import main
from m890sim.evidence import verify

OWN = "tests.bench.agents:FirstLegal"
SMALL = Protocol(("test",), ("vector_add",), chips=2, seeds=1, budgets=(3, 6), cases=1)
COMMAND = [
    *("bench", "annealing", OWN, "--tasks", "vector_add", "--chips", "2", "--seeds", "1"),
    *("--budgets", "3,6", "--cases", "1"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark."""
    path = tmp_path_factory.mktemp("bench") / "out"
    assert main([*COMMAND, "--out", str(path)]) == 0
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """The records of a benchmark, but for what its clock says."""
    found = sorted((folder / "runs").rglob("*"))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if path.is_file() and path.name != "times.json"
    }


def test_every_run_is_a_record_and_is_verified(folder: Path) -> None:
    runs = sorted(path.parent for path in (folder / "runs").rglob("manifest.json"))
    names = [f"{run.parts[-5]} {run.name}" for run in runs]
    # Annealing plans by its budget; the other one runs once for all budgets.
    assert sorted(names) == sorted(
        2 * ["annealing seed0-3", "annealing seed0-6", "first-legal seed0-6"]
    )
    assert all(verify(run).verified for run in runs[:2])
    assert is_bench(folder) and not is_bench(runs[0])
    assert verify_bench(folder).verified


def test_it_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    lost = next(copy.glob("runs/annealing/*/*/*/seed0-6"))
    shutil.rmtree(lost)
    told: list[tuple[int, int]] = []
    found = bench(copy, SMALL, ["annealing", OWN], told=lambda d, n, _: told.append((d, n)))
    assert told == [(6, 6)]
    assert files_of(copy) == files_of(folder)
    assert as_dict(found) == json.loads((folder / RESULTS).read_text())


@pytest.mark.long
def test_two_workers_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    bench(tmp_path / "two", SMALL, ["annealing", OWN], workers=2)
    assert files_of(tmp_path / "two") == files_of(folder)


def test_other_agents_and_no_other_protocol_can_be_added(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    found = bench(copy, SMALL, ["greedy"])
    assert [one.agent for one in found.table.rows("reference", 6, found.expected)] == ["greedy"]
    other = Protocol(("test",), ("vector_add",), chips=3, seeds=1, budgets=(3, 6), cases=1)
    with pytest.raises(RunError, match="was begun with chips 2, not 3; go on with the same"):
        bench(copy, other, ["greedy"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunError, match="is not empty and no folder of m890 bench"):
        bench(tmp_path / "full", SMALL, ["greedy"])


def test_a_forged_number_is_found(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    data = json.loads((copy / RESULTS).read_text())
    data["tables"][0]["rows"][0]["speedup"][0] *= 2
    (copy / RESULTS).write_text(json.dumps(data))
    found = verify_bench(copy)
    assert not found.verified and "results.json: tables.0.rows.0.speedup.0" in str(found.difference)
    log = next(copy.glob("runs/first-legal/*/*/*/*/evaluations.jsonl"))
    lines = log.read_text().replace('"accepted":true', '"accepted":false', 1)
    log.write_text(lines)
    found = verify_bench(copy)
    assert not found.verified and str(found.difference).startswith("runs/first-legal/reference/")
    # A run that was put in the place of another one is no run of the benchmark.
    mine, other = sorted(copy.glob("runs/annealing/*/*/*/seed0-6"))
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    with pytest.raises(RunError, match="is not the run that its name says; remove it"):
        bench(copy, SMALL, ["annealing"])


def test_what_an_agent_may_be() -> None:
    assert specs_of(["greedy", "all", OWN]) == [
        *("greedy", *(name for name in AGENTS if name != "greedy")),
        OWN,
    ]
    saved = specs_of(["baselines"])[7:]
    assert [entrant(spec).name for spec in saved] == [agent_of(spec).name for spec in saved]
    assert {bool(entrant(spec).trained) for spec in saved} == {True, False}
    assert entrant("greedy").anytime and not entrant("annealing").anytime
    assert entrant(OWN).trained == "trained on nothing but this line"
    assert isinstance(agent_of(OWN), Agent)
    for spec, words in (
        ("gredy", "unknown agent 'gredy'; give one of random-walk"),
        ("tests.bench.agents:nobody", "must be an m890sim.agents.Agent, or give one, not 7"),
        ("tests.bench.agents:Nothing", "has no attribute 'Nothing'"),
        ("no_such_module:Thing", "No module named 'no_such_module'"),
        ("none.npz", "none.npz does not exist; give the file of a saved policy"),
    ):
        with pytest.raises(AgentError, match=words):
            agent_of(spec)


def test_two_agents_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="two agents are called 'greedy'; give one of them another"):
        bench(tmp_path / "out", SMALL, ["greedy", "tests.bench.agents:Impostor"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "exam"], "splits may have train, validation, test, extrapolation, not 'exam'"),
        (["--budgets", "8,4"], "budgets must be rising and at least 1"),
        (["--budgets", "8,x"], "--budgets takes numbers of evaluations with commas, not 'x'"),
        (["--work", "5"], "--work takes LOW:HIGH in elements, not '5'"),
        (["--work", "9:5"], "most_work must be an integer of 9"),
        (["--starts", "end"], "starts may have reference, recipe, not 'end'"),
        (["--tasks", "extend,extend"], "tasks must name at least one, none twice"),
        (["--tasks", "nothing"], "unknown task"),
        (["--page", "page.html"], "--page takes a .md file, not page.html"),
    ],
)
def test_refusals(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "greedy", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_page_says_what_was_measured(folder: Path) -> None:
    text = (folder / "leaderboard.md").read_text()
    assert "- `first-legal`: trained on nothing but this line" in text
    assert "| `first-legal` (trained) |" in text
    assert "$ m890 bench annealing tests.bench.agents:FirstLegal --split test" in text
    assert "## 6 evaluations, from the task's reference kernel" in text
    assert (folder / "leaderboard.png").read_bytes().startswith(b"\x89PNG")


def test_from_the_end_of_the_list_the_list_gains_nothing(tmp_path: Path) -> None:
    both = Protocol(
        ("extrapolation",),
        ("vector_add",),
        chips=1,
        seeds=1,
        budgets=(30,),
        starts=("reference", "recipe"),
        cases=1,
    )
    found = bench(tmp_path / "out", both, ["recipe", "random-macro"])
    expected = found.expected
    rows = {row.agent: row for row in found.table.rows("recipe", 30, expected)}
    assert rows["recipe"].gained.value == 1 and rows["recipe"].gained.high == 1
    from_reference = found.table.row("recipe", "reference", 30, expected)
    assert from_reference is not None
    assert rows["recipe"].speedup.value == pytest.approx(from_reference.speedup.value)
    # What was begun better than the reference is not worse than that.
    assert rows["random-macro"].speedup.value >= rows["recipe"].speedup.value
    assert rows["random-macro"].over_list is not None
    assert verify_bench_of(tmp_path / "out")


def verify_bench_of(folder: Path) -> bool:
    """Whether every record of a folder holds."""
    return all(verify(path.parent).verified for path in folder.rglob("manifest.json"))
