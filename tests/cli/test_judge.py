"""`m890 judge`, `leaderboard` and `optimize`: numbers that cannot be, and judging apart."""

from __future__ import annotations

import json
import re

import pytest

from m890sim.agents import plan
from m890sim.cli import judge as command
from m890sim.cli import main, optimize, refusals, show
from m890sim.cli.judge import refused, status
from m890sim.judge import isolation, judgement

Capture = pytest.CaptureFixture[str]
ADD = "vector_add_reference"
ONE = ["judge", ADD, "--case", "add-256x512", "--seed", "3", "--rows", "2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["judge", ADD, "--hidden", "1001"], "must be at most 1000, not 1001"),
        (["judge", ADD, "--isolate", "86401"], "must be at most 86400, not 86401"),
        (["judge", ADD, "--seed", str(2**63)], "must be at most 9223372036854775807"),
        (["judge", ADD, "--rows", "9" * 5000], "must be an integer of at least 1, not 999"),
        (["judge", ADD, "--isolate", "60", "--hidden", "1001"], "must be at most 1000"),
        (["leaderboard", ".", "--hidden", "1001"], "must be at most 1000, not 1001"),
        (["leaderboard", ".", "--seed", str(2**63)], "must be at most 9223372036854775807"),
        (["optimize", "--seed", str(2**63)], "must be at most 9223372036854775807"),
        (["optimize", "--hidden", "101"], "must be at most 100, not 101"),
        (["optimize", "--evaluations", "100001"], "must be at most 100000, not 100001"),
    ],
)
def test_numbers_out_of_range_are_refused(
    arguments: list[str], words: str, capsys: Capture
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err and "bug" not in captured.err and len(captured.err) < 2000


def test_bounds_of_the_command_line_are_those_of_the_package() -> None:
    assert show.MOST_HIDDEN == judgement.MOST_HIDDEN
    assert (optimize.MOST_EVALUATIONS, optimize.MOST_HIDDEN, show.MOST_INTEGER) == (
        plan.MOST_EVALUATIONS,
        plan.MOST_HIDDEN,
        plan.MOST_SEED,
    )
    with pytest.raises(ValueError, match="be at most 86,400"):
        isolation.run_isolated("echo", {}, seconds=command.MOST_SECONDS + 1)


def test_judging_apart_says_what_judging_here_says(capsys: Capture) -> None:
    assert main([*ONE, "--hidden", "2", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert main([*ONE, "--hidden", "2", "--isolate", "60", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert main([*ONE, "--hidden", "2", "--isolate", "60"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"seed 3, [\d.]+x on 2 hidden cases, 0 wrong\n", text)
    assert "speedup 1.00x on public cases" in text


def test_what_a_judging_process_refuses_is_refused(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = isolation.Isolated(isolation.REFUSED, "no such thing")
    monkeypatch.setattr(isolation, "judge_isolated", lambda *_, **__: refused)
    for more in ([], ["--json"]):
        assert main([*ONE, "--isolate", "60", *more]) == 2
        captured = capsys.readouterr()
        assert captured.err == "m890: no such thing\n"
        assert bool(captured.out) == bool(more)
        if more:
            assert json.loads(captured.out)["error"]["message"] == "no such thing"


def case(name: str, message: str = "") -> dict[str, object]:
    return {"case": name, "correct": not message, "message": message}


NO_ROOM, LIMIT = "k.py:1:1: E301 no room", "E510 the run comes to more"
UNFIT = refusals.finding_of(NO_ROOM, ("a",))


@pytest.mark.parametrize(
    ("public", "hidden", "gates", "fits", "expected"),
    [
        ([case("a"), case("b")], [], {}, [], []),
        ([case("a", NO_ROOM), case("b")], [], {}, [UNFIT], ["a"]),
        ([case("a", NO_ROOM), case("b", LIMIT)], [], {}, [UNFIT], ["a", "b"]),
        ([case("a", NO_ROOM), case("b", "3 rows are wrong")], [], {}, [UNFIT], []),
        ([case("a", NO_ROOM)], [case("h", "E404 beyond")], {}, [UNFIT], []),
        ([case("a", NO_ROOM)], [case("h", NO_ROOM)], {}, [UNFIT], ["a"]),
        ([case("a")], [case("h", NO_ROOM)], {}, [], []),  # a gate that failed: nobody gave it
        ([case("a", NO_ROOM)], [], {"equivalence": False}, [UNFIT], []),
        ([case("a", NO_ROOM)], [], {"structure": False}, [UNFIT], ["a"]),
    ],
)
def test_a_wrong_answer_counts_before_a_refusal(
    public: list[dict[str, object]],
    hidden: list[dict[str, object]],
    gates: dict[str, bool],
    fits: list[refusals.Finding],
    expected: list[str],
) -> None:
    data = {
        "cases": public,
        "hidden": {"results": hidden} if hidden else None,
        "gates": [{"gate": name, "passed": passed} for name, passed in gates.items()],
    }
    found = refused(data, fits)
    assert [name for finding in found for name in finding.cases] == expected
    assert status(False, found) == (2 if expected else 1)
