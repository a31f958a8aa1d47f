"""What is sent of a conversation that grows: always whole, and seldom too long."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.protocol.chat.window import HEAD, KEPT, LONG, WHOLE, ChatWindow, shortened

SIZES = st.sampled_from([0, 5, 300, 700, 5000, 30_000])
# One exchange: the sizes of its calls' arguments and results; none is a turn without a call.
EXCHANGES = st.lists(st.lists(st.tuples(SIZES, SIZES), max_size=3), max_size=25)


def conversation(exchanges: list[list[tuple[int, int]]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"role": "system", "content": "rules " * 100},
        {"role": "user", "content": "Begin."},
    ]
    for number, calls in enumerate(exchanges):
        message: dict[str, Any] = {"role": "assistant", "content": f"{number}"}
        answers: list[dict[str, Any]] = []
        for at, (said, told) in enumerate(calls):
            identity = f"{number}.{at}"
            function = {"name": "test", "arguments": json.dumps({"source": "s" * said})}
            message.setdefault("tool_calls", []).append({"id": identity, "function": function})
            answers.append({"role": "tool", "tool_call_id": identity, "content": "t" * told})
        found += [message, *answers] if calls else [message, {"role": "user", "content": "call"}]
    return found


def check_whole(view: list[dict[str, Any]]) -> None:
    """Every call is answered in its place, and nothing answers what is not there."""
    waiting: list[str] = []
    for message in view:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
            continue
        assert not waiting
        calls = message.get("tool_calls", ())
        waiting = [call["id"] for call in calls]
        for call in calls:
            assert isinstance(json.loads(call["function"]["arguments"]), dict)


@given(EXCHANGES, st.integers(3000, 60_000))
@settings(max_examples=60, deadline=None)
def test_what_is_sent_is_whole_and_bounded(
    exchanges: list[list[tuple[int, int]]], most: int
) -> None:
    messages = conversation(exchanges)
    ends = {n for n, each in enumerate(messages) if each["role"] == "assistant"} | {len(messages)}
    window = ChatWindow(most)
    for count, message in enumerate(messages, 1):
        window.add(message)
        view = window.view()
        if count in ends:
            check_whole(view)
        assert view[0] == messages[0]
        assert count < HEAD or view[1]["content"].startswith("Begin.")
        # The last messages are sent as they are, whatever they take.
        kept = max(0, min(WHOLE, len(view) - HEAD))
        assert view[len(view) - kept :] == messages[count - kept : count]
        rest = sum(len(json.dumps(each)) for each in view[: len(view) - kept])
        assert rest <= most + 200 or len(view) <= HEAD + 2 * WHOLE
        assert window.size == sum(len(json.dumps(each)) for each in window.view()[HEAD:]) + sum(
            len(json.dumps(each)) for each in messages[: min(HEAD, count)]
        )


def test_short_conversation_is_sent_as_it_is() -> None:
    messages = conversation([[(5000, 5000)]] * 10)
    window = ChatWindow(400_000)
    for message in messages:
        window.add(message)
    assert window.view() == messages


def test_old_results_are_shortened_first_and_then_left_out() -> None:
    messages = conversation([[(5000, 5000)]] * 12)
    window = ChatWindow(60_000)
    for message in messages:
        window.add(message)
    view = window.view()
    assert len(view) == len(messages)
    assert "characters left out; call the tool again" in view[3]["content"]
    assert "(4800 characters left out)" in view[2]["tool_calls"][0]["function"]["arguments"]
    assert view[-1] == messages[-1]
    assert window.tighten()
    while window.tighten():
        pass
    view = window.view()
    assert f"({len(messages) - len(view)} earlier messages are left out" in view[1]["content"]
    check_whole(view)


def test_same_messages_give_the_same_view() -> None:
    messages = conversation([[(700, 5000)], [], [(30_000, 300), (5, 5)]] * 5)
    one, two = ChatWindow(40_000), ChatWindow(40_000)
    for message in messages:
        one.add(message)
        one.view()
    for message in messages:
        two.add(message)
    assert one.view() == two.view()


def test_tightening_ends_where_nothing_can_be_left_out() -> None:
    window = ChatWindow(1_000_000)
    for message in conversation([[(30_000, 30_000)]]):
        window.add(message)
    assert not window.tighten()


def test_short_messages_stay_and_long_ones_keep_their_beginning() -> None:
    short = {"role": "tool", "tool_call_id": "a", "content": "x" * LONG}
    assert shortened(short) == short
    long = shortened({**short, "content": "y" * 10_000})["content"]
    assert long.startswith("y" * KEPT) and len(long) < LONG
