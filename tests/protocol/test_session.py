"""The session without files: tools, costs, budgets, stop rules, and what is said of wrong calls."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.judge import judge_kernel
from m890sim.kernel import print_kernel
from m890sim.protocol import TOOLS, SourceSession, Terms, tools_of, unfamiliar_chip
from m890sim.protocol.start import session_plan
from tests.protocol.players import FASTER, HUGE, MEMORY, WRONG, plan, play, session

VECTOR_ADD = session_plan("vector_add", "m890", terms=Terms(), hidden=0)


def test_the_reference_is_evaluation_zero_and_counts() -> None:
    found = session()
    assert [entry.speedup for entry in found.log] == [1.0]
    assert found.left == {"evaluations": 431, "calls": 1158}
    assert found.source(0) == print_kernel(found.plan.start)


def test_a_test_costs_one_evaluation_and_tells_cycles_and_engines() -> None:
    found = session()
    answer = found.call("test", {"replace": FASTER})
    assert answer.ok
    assert answer.data["correct"] and answer.data["speedup"] > 1.02
    case = answer.data["cases"]["softmax-256x512"]
    timed = judge_kernel(found.kernel(1), "row_softmax", "m890").evaluation.case("softmax-256x512")
    assert case["cycles"] == timed.cycles
    assert set(case["engines"]) == {"dma", "matrix", "vector", "sfu"}
    assert all(0.99 < sum(causes.values()) < 1.01 for causes in case["engines"].values())
    assert found.left == {"evaluations": 430, "calls": 1157}


def test_the_same_kernel_again_costs_no_evaluation_whatever_its_comments() -> None:
    found = session()
    source = found.source(0).replace("BR: Tunable = 8", "BR: Tunable = 4")
    first = found.call("test", {"source": source})
    again = found.call("test", {"source": "# mine\n" + source})
    assert (first.data["evaluation"], again.data["evaluation"]) == (1, 1)
    assert (first.data["counted"], again.data["counted"]) == (True, False)
    assert found.left["evaluations"] == 430


def test_a_wrong_kernel_counts_one_and_its_cycles_are_told() -> None:
    found = session()
    answer = found.call("test", {"replace": WRONG})
    assert answer.ok and not answer.data["correct"]
    assert answer.data["speedup"] == 1.0
    assert all(case["cycles"] > 0 for case in answer.data["cases"].values())
    assert answer.data["message"] in answer.text and "WRONG" in answer.text
    assert found.best_speedup == 1.0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:", "E102"),
        ("", "E103"),
        ("import os", "E106"),
    ],
)
def test_a_refused_text_costs_no_evaluation(source: str, said: str) -> None:
    found = session()
    answer = found.call("test", {"source": source})
    assert not answer.ok and said in answer.text and "nothing was spent" in answer.text
    assert found.left == {"evaluations": 431, "calls": 1157}


def test_a_kernel_that_does_not_fit_costs_no_evaluation() -> None:
    found = session()
    for tool in ("check", "test"):
        answer = found.call(tool, {"replace": HUGE, "base": 0})
        assert not answer.ok and "E301" in answer.text and "softmax" in answer.text
    assert found.left["evaluations"] == 431


def test_check_says_that_nothing_was_run() -> None:
    answer = session().call("check", {"replace": FASTER})
    assert answer.ok and answer.text.endswith("Not run.")


def test_a_profile_costs_one_evaluation_and_names_lines_of_the_text() -> None:
    found = session()
    source = "# a line more\n" + found.source(0)
    found.call("test", {"source": source.replace("BR: Tunable = 8", "BR: Tunable = 4")})
    answer = found.call("profile", {"evaluation": 1, "case": "softmax-64x1024"})
    assert answer.ok and found.left["evaluations"] == 429
    line = next(
        number
        for number, text in enumerate(found.source(1).splitlines(), 1)
        if text.strip().startswith("exp(")
    )
    assert f"line {line}: exp(" in answer.text
    assert answer.data["what_if"] and answer.data["engines"]
    found.call("profile", {"evaluation": 1, "case": "softmax-64x1024"})
    assert found.left["evaluations"] == 429


def test_suggestions_are_evaluations_that_can_be_gone_on_from() -> None:
    found = session()
    answer = found.call("suggest", {"most": 3})
    tried = answer.data["tried"]
    assert len(tried) == 3 and found.left["evaluations"] == 428
    best = tried[0]
    text = found.call("read_reference", {"evaluation": best["evaluation"]}).text
    assert text == found.source(best["evaluation"]) != found.source(0)
    assert found.log[best["evaluation"]].speedup == best["speedup"]
    change = [{"old": "def row_softmax_reference", "new": "def mine"}]
    assert found.call("check", {"replace": change, "base": best["evaluation"]}).ok


def test_suggest_spends_no_more_than_is_left() -> None:
    found = session(evaluations=3)
    answer = found.call("suggest", {"most": 8})
    assert len(answer.data["tried"]) == 2
    assert found.call("suggest").text.startswith("the 3 evaluations are spent")


def test_evaluations_end_and_calls_go_on() -> None:
    found = session(evaluations=2)
    found.call("test", {"replace": FASTER})
    answer = found.call("test", {"replace": WRONG, "base": 0})
    assert not answer.ok and "evaluations are spent" in answer.text and not found.ended
    assert found.call("test", {"replace": FASTER, "base": 0}).data["counted"] is False
    assert found.call("submit").ok and found.ended == "submitted"


def test_calls_end_the_session() -> None:
    found = session(terms={"calls": 2})
    assert not found.call("status").ended
    assert found.call("status").ended == "its 2 calls are spent"
    after = found.call("status")
    assert not after.ok and after.text == "the session is over: its 2 calls are spent"


def test_patience_ends_the_session_where_nothing_gains() -> None:
    found = session(terms={"patience": 2})
    found.call("test", {"replace": FASTER})
    for name in ("one", "two", "three"):
        change = [{"old": "def row_softmax_reference", "new": f"def {name}"}]
        if found.call("test", {"replace": change, "base": 0}).ended:
            break
    assert found.ended == "2 evaluations brought no gain of more than 1%"
    assert len(found.log) == 4


def test_turns_without_a_call_end_it_and_a_call_begins_anew() -> None:
    found = session(terms={"turns": 2})
    assert not found.turn().ended
    found.call("status")
    assert not found.turn().ended
    assert found.turn().ended == "2 turns in a row called no tool"


def test_a_call_after_the_time_ends_it() -> None:
    found = session(terms={"seconds": 5})
    assert found.call("status", late=True).ended == "its 5 seconds are over"
    assert len(found.log) == 1


def test_what_is_submitted_is_chosen_and_nothing_of_its_judgement_is_told() -> None:
    found = session()
    found.call("test", {"replace": FASTER})
    answer = found.call("submit", {"evaluation": 0})
    assert (answer.text, answer.data) == (
        "Evaluation 0 is submitted.\nThe session is over: submitted.",
        {"evaluation": 0},
    )
    assert found.chosen is found.log[0]


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("fly", {}, "there is no tool 'fly'; the tools are read_task"),
        (None, {}, "there is no tool 'None'"),
        ("test", {}, "give either source"),
        ("test", {"source": "x", "replace": FASTER}, "give either source"),
        ("test", {"source": 3}, "source must be a text, not 3"),
        ("test", {"source": "x", "base": 0}, "base belongs to replace"),
        ("test", {"replace": []}, "replace must be a list"),
        ("test", {"replace": [{"old": "x"}]}, "must have old and new"),
        ("test", {"replace": [{"old": "no such", "new": ""}]}, "stands there 0 times"),
        ("test", {"replace": [{"old": "", "new": ""}]}, "is empty"),
        ("test", {"replace": [{"old": "fence()", "new": ""}]}, "stands there 10 times"),
        ("test", {"replace": FASTER, "base": 7}, "there is no evaluation 7; the last one is 0"),
        ("test", {"replace": WRONG * 101}, "may hold 100 replacements, not 101"),
        ("test", {"source": "x" * 20_001}, "20,001 characters, this session takes 20,000"),
        ("test", {"code": "x"}, "test has no argument 'code'; it takes source, replace, base"),
        ("status", {"x": 1}, "it takes no arguments"),
        ("diff", {"new": -1}, "new must be an integer of at least 0"),
        ("diff", {"new": True}, "new must be an integer"),
        ("diff", {"new": 3}, "there is no evaluation 3"),
        ("profile", {"case": "x"}, "there is no case 'x'; the cases are softmax-256x512"),
        ("read_docs", {"page": "../../etc/passwd"}, "there is no page"),
        ("submit", {"evaluation": 4}, "there is no evaluation 4"),
        ("test", "{", "the arguments are not JSON"),
        ("test", "[1]", "must be one JSON object"),
        ("test", 5, "must be one JSON object"),
        ("test", {"source": {1, 2}}, "must be plain JSON"),
        ("test", '{"source": "' + "x" * 2**20 + '"}', "bytes, at most 1048576 are taken"),
        ("test", "[" * 1000, "nested deeper"),
    ],
)
def test_what_is_said_of_wrong_calls(tool: Any, arguments: Any, said: str) -> None:
    found = session()
    answer = found.call(tool, arguments)
    assert not answer.ok and said in answer.text, answer.text
    assert found.left == {"evaluations": 431, "calls": 1157}


def test_arguments_that_are_null_are_left_out() -> None:
    found = session()
    assert found.call("diff", {"old": None, "new": None}).ok
    assert found.call("check", {"source": None, "replace": FASTER, "base": None}).ok


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([*TOOLS, "x"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["source", "replace", "base", "case", "old", "new", "page"])
                | st.text(),
                inner,
                max_size=3,
            )
        ),
        max_leaves=6,
    ),
)
def test_no_call_raises(tool: str, arguments: Any) -> None:
    answer = SourceSession(VECTOR_ADD, memory=MEMORY).call(tool, arguments)
    assert isinstance(answer.text, str)
    json.dumps(answer.as_dict(), allow_nan=False)


def test_the_same_calls_give_the_same_answers() -> None:
    first, second = session(), SourceSession(plan())
    for found in (first, second):
        play(found)
    assert first.call("status").as_dict() == second.call("status").as_dict()
    assert [entry.as_dict() for entry in first.log] == [entry.as_dict() for entry in second.log]


def test_tools_by_level() -> None:
    assert {"profile", "suggest"} == set(tools_of(Terms(docs="full"))) - set(tools_of(Terms()))
    assert set(tools_of(Terms(docs="language"))) == set(tools_of(Terms()))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"docs": "all"}, "docs must be one of none, language, full, not 'all'"),
        ({"calls": 0}, "calls must lie in 1 ... 100000, not 0"),
        ({"calls": 1.5}, "calls must be an integer, not 1.5"),
        ({"seconds": -1}, "seconds must lie in 0"),
        ({"source": 10**9}, "source must lie in 100 ... 200000"),
        ({"source": 200_000}, "1158 calls with sources of 200000 characters come to more than"),
        ({"turns": True}, "turns must be an integer, not True"),
    ],
)
def test_what_is_said_of_wrong_terms(terms: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        Terms(**terms)


def test_a_plan_without_terms_is_refused() -> None:
    with pytest.raises(ValueError, match="the plan has no terms"):
        SourceSession(dataclasses.replace(plan(), terms=None))


def test_unfamiliar_chips_are_of_the_test_splits_and_of_all_families() -> None:
    names = [unfamiliar_chip(seed).name for seed in range(18)]
    assert len(set(names)) == 18
    assert len({name.split(":")[0] for name in names}) == 9
    assert all(name.split(":")[1] == "test" for name in names)
