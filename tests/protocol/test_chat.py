"""A model plays a session: a scripted server answers as models and their servers do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from m890sim.agents.files import Log
from m890sim.agents.reading import RunError
from m890sim.cli import main
from m890sim.errors import M890Error
from m890sim.evidence import verify
from m890sim.protocol import Recording, instructions
from m890sim.protocol.chat import ApiKey, Endpoint, ModelError, ModelPlayer, Sampling
from m890sim.protocol.chat.replies import ReplyError, reply_of
from m890sim.protocol.chat.transcript import BEGINS, MESSAGES, Transcript
from m890sim.protocol.log import INTERRUPTED, TURN, read_calls
from tests.protocol.chat_server import (
    ScriptedServer,
    Step,
    answers,
    breaks_off,
    call,
    chunked,
    closes,
    drips,
    event,
    fails,
    hangs,
    says,
    stream_of,
    uses,
)
from tests.protocol.players import FASTER, recording

SECRET = "sk-Very.Secret-0123456789"
STATUS, SUBMIT = uses(call("status")), uses(call("submit"))
TEST = call("test", {"replace": FASTER, "base": 0})


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Recording]:
    found = recording(tmp_path / "run")
    yield found
    found.close()


class Played:
    """A session that a scripted model has played."""

    def __init__(self, run: Recording, steps: list[Step], **settings: Any) -> None:
        self.run, self.waits, self.told = run, list[float](), list[str]()
        self.failure: M890Error | None = None
        key = settings.pop("key", "M890_NO_KEY")
        stream, timeout = settings.pop("stream", False), settings.pop("timeout", 30.0)
        with ScriptedServer(steps) as self.server:
            endpoint = Endpoint(self.server.url, ApiKey(key), timeout=timeout, stream=stream)
            player = ModelPlayer(
                run,
                endpoint,
                Sampling("a-model", **settings),
                told=self.told.append,
                sleep=self.waits.append,
            )
            try:
                player.play()
            except M890Error as error:
                self.failure = error
            finally:
                player.close()
            self.usage = player.usage()

    @property
    def calls(self) -> list[tuple[str, bool]]:
        return [(line["tool"], line["ok"]) for line in read_calls(self.run.path)[0]]

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = (self.run.path / MESSAGES).read_text()
        return [json.loads(line) for line in text.splitlines()]

    @property
    def notes(self) -> list[str]:
        return [line["note"] for line in self.lines if line["note"]][1:]

    @property
    def answers(self) -> list[str]:
        """What the model was told, after the first two messages."""
        found = [line["message"] for line in self.lines if line["message"]]
        return [each["content"] for each in found[2:] if each["role"] != "assistant"]


def asked(*steps: Step, stream: bool = False, timeout: float = 30.0) -> list[Any]:
    """What comes of as many requests: answers, or errors."""
    found: list[Any] = []
    with ScriptedServer(steps) as server:
        endpoint = Endpoint(server.url, ApiKey("M890_NO_KEY"), timeout=timeout, stream=stream)
        for _ in steps:
            try:
                found.append(reply_of(endpoint.ask({"messages": []}), 0))
            except (ModelError, ReplyError) as error:
                found.append(error)
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_model_plays_a_whole_session(run: Recording, stream: bool) -> None:
    steps = [
        uses(call("read_task"), call("read_reference")),
        says("Fences wait.", [{"id": "a", **TEST}]),
        says("I think about it."),
        SUBMIT,
    ]
    played = Played(run, steps, stream=stream, temperature=0.5, max_tokens=900)
    assert played.failure is None and run.ended == "submitted"
    named = ["read_task", "read_reference", "test", TURN, "submit"]
    assert [name for name, _ in played.calls] == named
    first = played.server.requests[0]
    assert played.server.paths[0] == "/v1/chat/completions"
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("a-model", 0.5, 900)
    assert first["messages"] == [
        {"role": "system", "content": instructions(run.plan)},
        {"role": "user", "content": "Begin."},
    ]
    assert [tool["function"]["name"] for tool in first["tools"]] == list(run.session.tools)
    assert first["tools"][4]["function"]["parameters"] == run.session.tools["test"].schema()
    told = played.server.requests[2]["messages"]
    assert [each["role"] for each in told] == [
        "system", "user", "assistant", "tool", "tool", "assistant", "tool"
    ]  # fmt: skip
    assert told[6]["tool_call_id"] == "a" and told[5]["content"] == "Fences wait."
    assert json.loads(told[5]["tool_calls"][0]["function"]["arguments"])["replace"] == FASTER
    assert "right" in told[6]["content"] and "evaluations and" in told[6]["content"]
    assert "No tool was called" in played.server.requests[3]["messages"][-1]["content"]
    assert played.usage == {"prompt_tokens": 40, "completion_tokens": 8}
    assert played.waits == [] and played.notes == []
    run.close()
    assert verify(run.path).verified
    # The log of calls and that of messages fit each other.
    said = [line["call"] for line in played.lines if line["call"] is not None]
    assert said == list(range(len(played.calls)))


def test_malformed_calls_are_answered_one_by_one(run: Recording) -> None:
    bad = [
        {"id": "a", **call("test", '{"source": "x"')},
        {"id": "a", **call("nonsense", {})},
        call("status"),
        {"id": "b", "function": {"name": "check", "arguments": {"source": "def f(:"}}},
        {"id": "c", "function": {"name": None}},
        {"id": "d", **call("test", "[1, 2]")},
        {"id": "e", **call("test", '"text"')},
        {"id": 7, **call("status", "")},
        "no call at all",
        {"id": "f", **call("bad name!", {"a": 1})},
    ]
    played = Played(run, [says(None, bad), SUBMIT])
    assert played.failure is None
    expected = ["test", "nonsense", "status", "check", "None", "test", "test", "status", "None"]
    assert [name for name, _ in played.calls] == [*expected, "bad name!", "submit"]
    assert [ok for _, ok in played.calls] == [n in (2, 7, 10) for n in range(11)]
    texts = (
        "the arguments are not JSON",
        "there is no tool 'nonsense'; the tools are",
        "Evaluations: 1 spent",
        "E1",
        "there is no tool 'None'",
        "must be one JSON object",
        "must be one JSON object",
        "Evaluations: 1 spent",
        "there is no tool 'None'",
        "there is no tool 'bad name!'",
    )
    for text, answer in zip(texts, played.answers, strict=False):
        assert text in answer
    # What goes back to the server is whole: names, ids and arguments that every one takes.
    back = played.server.requests[1]["messages"]
    calls = back[2]["tool_calls"]
    assert len({each["id"] for each in calls}) == len(calls) == 10
    assert [each["id"] for each in calls] == [each["tool_call_id"] for each in back[3:]]
    for each in calls:
        assert each["function"]["name"].replace("_", "").isalnum()
        assert isinstance(json.loads(each["function"]["arguments"]), dict)
    assert json.loads(played.lines[3]["said"])["tool_calls"] == bad


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (fails(500, "out of memory"), "HTTP 500: out of memory"),
        (fails(503), "HTTP 503"),
        (fails(408), "HTTP 408"),
        (answers(b"<html>Bad Gateway</html>", 502), "HTTP 502: <html>"),
        (answers(b"<html>Welcome</html>"), "not whole JSON"),
        (answers([1]), "no JSON object"),
        (answers({}), "no choices[0].message"),
        (answers({"choices": []}), "no choices[0].message"),
        (answers({"choices": [{"message": "text"}]}), "no choices[0].message"),
        (answers({"error": {"message": "model is loading"}}), "model is loading"),
        (answers(b'{"choices": [{"message": {"content": NaN}}]}'), "not whole JSON"),
        (answers(b"[" * 5000), "not whole JSON"),
        (breaks_off(b'{"choices": [{"mess'), "not whole JSON"),
        (breaks_off(b"", more=0), "not whole JSON"),
        (closes, "RemoteDisconnected"),
        (hangs, "no answer within 0.5 s"),
    ],
)
def test_server_in_trouble_may_be_asked_again(step: Step, text: str) -> None:
    [error, reply] = asked(step, SUBMIT, timeout=0.5)
    assert text in str(error) and getattr(error, "passing", True)
    assert [call.name for call in reply.calls] == ["submit"]


def test_server_in_trouble_is_asked_again(run: Recording) -> None:
    steps = [fails(500, "down"), answers({}), closes, hangs, answers(b"<html>"), SUBMIT]
    played = Played(run, steps, timeout=0.5)
    assert played.failure is None and run.ended == "submitted"
    assert len(played.server.requests) == 6
    assert all(each == played.server.requests[0] for each in played.server.requests)
    assert played.waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert "HTTP 500: down; try 2" in played.notes[0]


TOOL = stream_of({"tool_calls": [{"id": "a", **TEST}]})


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "its stream broke off"),
        (b"".join(TOOL[:-4]), "its stream broke off"),
        (TOOL[1] + TOOL[2][:-9], "a part of its stream is not JSON"),
        (b'data: {"choices"\n\n', "a part of its stream is not JSON"),
        (b"data: 3\n\n", "a part of its stream is no JSON object"),
        (TOOL[1] + b'data: {"error": {"message": "overloaded"}}\n\n', "overloaded"),
        (b"".join(event({"tool_calls": [{"index": n}]}) for n in range(300)), "more than 256"),
    ],
)
def test_stream_that_breaks_off_is_no_answer(data: bytes, text: str) -> None:
    [error, reply] = asked(breaks_off(data, "text/event-stream"), SUBMIT, stream=True)
    assert text in str(error) and error.passing
    assert [call.name for call in reply.calls] == ["submit"]


def test_half_closed_streams_do_no_harm(run: Recording) -> None:
    broken = breaks_off(b"".join(TOOL[:-4]), "text/event-stream")
    played = Played(run, [broken, STATUS, broken, broken, SUBMIT], stream=True)
    assert played.failure is None
    assert [name for name, _ in played.calls] == ["status", "submit"]
    assert played.waits == [1.0, 1.0, 2.0]


def test_stream_without_its_last_word_counts_once_it_has_ended() -> None:
    [reply] = asked(breaks_off(b"".join(TOOL[:-1]), "text/event-stream"), stream=True)
    assert [(call.id, call.name) for call in reply.calls] == [("a", "test")]


def test_chunks_of_a_stream_may_end_anywhere() -> None:
    data = b"".join(TOOL)
    parts = [data[at : at + 7] for at in range(0, len(data), 7)]
    lines = chunked([data.replace(b"\n", b"\r\n")])
    missing = chunked(TOOL[:-1], end=False)
    for reply in asked(chunked(parts), lines, missing, stream=True):
        [call] = reply.calls
        assert (call.id, json.loads(call.arguments)["replace"]) == ("a", FASTER)
    [error] = asked(chunked(TOOL[:-4], end=False), stream=True)
    assert error.passing and "IncompleteRead" in str(error)


def test_stream_that_drips_has_its_time() -> None:
    [error] = asked(drips, stream=True, timeout=0.5)
    assert error.passing and "no answer within 0.5 s" in str(error)


def test_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m890sim.protocol.chat.endpoint.MOST_REPLY", 1000)
    stream = breaks_off(b": wait\n\n" * 500, "text/event-stream")
    for error in (*asked(stream, stream=True), *asked(answers(b" " * 2000))):
        assert "more than 1000 bytes" in str(error) and error.passing


def test_calls_of_a_stream_without_index_are_told_apart_by_their_ids() -> None:
    def part(identity: str | None, name: str | None, text: str) -> bytes:
        function = {"arguments": text} | ({} if name is None else {"name": name})
        return event({"tool_calls": [{"id": identity, "function": function}]})

    data = part("a", "diff", '{"ol') + part(None, None, 'd": 0}') + part("b", "status", "{}")
    data += event({}, "tool_calls")
    step = breaks_off(data, "text/event-stream")
    [reply] = asked(step, stream=True)
    found = [(call.id, call.name, call.arguments) for call in reply.calls]
    assert found == [("a", "diff", '{"old": 0}'), ("b", "status", "{}")]


def test_rate_limits_are_respected(run: Recording) -> None:
    steps = [
        fails(429, "slow down", Retry_After="7"),
        fails(429, "slow down"),
        fails(503, "later", Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
        fails(429, "slow down", Retry_After="soon"),
        SUBMIT,
    ]
    played = Played(run, steps)
    assert played.failure is None
    assert played.waits == [7.0, 2.0, 4.0, 8.0]


def test_wait_that_is_too_long_stops_the_player(run: Recording) -> None:
    played = Played(run, [fails(429, "quota", Retry_After="90000")])
    assert isinstance(played.failure, ModelError) and "quota" in str(played.failure)
    assert played.waits == [] and "which is too long" in played.notes[-1]


def test_server_that_stays_down_stops_the_player_and_it_goes_on(run: Recording) -> None:
    played = Played(run, [STATUS, *[fails(500, "down")] * 4], retries=3)
    assert isinstance(played.failure, ModelError) and "HTTP 500: down" in str(played.failure)
    assert played.waits == [1.0, 2.0, 4.0]
    assert "given up after 4 tries" in played.notes[-1]
    run.close()
    again = Recording(run.path)
    on = Played(again, [SUBMIT])
    assert on.failure is None
    assert [each["role"] for each in on.server.requests[0]["messages"]] == [
        "system", "user", "assistant", "tool"
    ]  # fmt: skip
    again.close()
    assert verify(run.path).verified


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (fails(401, "bad key"), "HTTP 401: bad key"),
        (fails(404, "no such model"), "HTTP 404: no such model"),
        (answers({"detail": "tools unknown"}, 400), "HTTP 400: tools unknown"),
        (answers(b"plain", 400), "HTTP 400: plain"),
        (fails(307, "", Location="http://127.0.0.1:1/x"), "redirects are not followed"),
    ],
)
def test_refusal_is_lasting(step: Step, text: str) -> None:
    [error] = asked(step)
    assert text in str(error) and not error.passing


def test_refusal_stops_the_player_at_once(run: Recording) -> None:
    played = Played(run, [fails(401, "bad key"), SUBMIT])
    assert isinstance(played.failure, ModelError) and "bad key" in str(played.failure)
    assert len(played.server.requests) == 1 and not run.ended


def test_conversation_that_is_too_long_for_the_model_is_cut(run: Recording) -> None:
    long = fails(400, "This model's maximum context length is 9 tokens")
    steps = [uses(call("read_docs", {"page": "language"})), *[STATUS] * 4, long, SUBMIT]
    played = Played(run, steps)
    assert played.failure is None
    sizes = [len(json.dumps(each["messages"])) for each in played.server.requests]
    assert sizes[-1] < sizes[-2] / 2 and "characters are sent" in played.notes[0]
    refused = Played(recording(run.path.with_name("b")), [long] * 9)
    assert isinstance(refused.failure, ModelError)
    assert len(refused.server.requests) < 9
    refused.run.close()


def test_turns_without_calls_end_the_session(run: Recording) -> None:
    steps = [says("Hm."), STATUS, *[says("", finish="length")] * 5]
    played = Played(run, steps)
    assert run.ended == "5 turns in a row called no tool"
    assert [name for name, _ in played.calls] == [TURN, "status", *[TURN] * 5]
    assert "cut off at its greatest length. No tool" in played.answers[-1]


def test_time_ends_the_session_while_a_server_lets_wait(tmp_path: Path) -> None:
    now = [0.0]
    run = recording(tmp_path / "run", terms={"seconds": 10}, clock=lambda: now[0])

    def busy(handler: Any) -> None:
        now[0] += 11
        fails(429, "busy", Retry_After="600")(handler)

    played = Played(run, [STATUS, busy, SUBMIT])
    assert run.ended == "its 10 seconds are over"
    assert played.waits[0] < 1 and len(played.server.requests) == 2
    run.close()
    assert verify(run.path).verified


@pytest.mark.parametrize("stream", [False, True])
def test_key_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    run = recording(tmp_path / "run")
    steps = [
        fails(500, f"who are you, {SECRET}?"),
        answers(f"no, {SECRET}".encode(), 502),
        says(f"My key is {SECRET}.", [{"id": SECRET, **call("status", {SECRET: SECRET})}]),
        says(None, [call(f"tool {SECRET}"), call("test", f"{{{SECRET}")]),
        fails(401, f"Bearer {SECRET} is wrong"),
    ]
    played = Played(run, steps, key="MY_KEY", stream=stream)
    assert played.server.keys == [f"Bearer {SECRET}"] * 5
    assert "Bearer (key) is wrong" in str(played.failure)
    run.finish()
    run.close()
    for told in [*played.told, str(played.failure), repr(ApiKey("MY_KEY"))]:
        assert SECRET not in told
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) >= 6
    for file in files:
        assert SECRET.encode() not in file.read_bytes(), file
    for body in played.server.requests:
        assert SECRET not in json.dumps(body)


@pytest.mark.parametrize("text", ["abc", "two\nlines-of-it", "Schlüssel"])
def test_key_that_cannot_be_sent_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("MY_KEY", text)
    with pytest.raises(M890Error, match="at least 4 printable ASCII") as refused:
        ApiKey("MY_KEY")
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1/chat/completions"),
        ("http://localhost:8000/", "http://localhost:8000/v1/chat/completions"),
        ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
        ("http://a/b/chat/completions", "http://a/b/chat/completions"),
    ],
)
def test_url_is_completed(url: str, whole: str) -> None:
    assert Endpoint(url, ApiKey("M890_NO_KEY")).url == whole


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://a/",
        "http://",
        "http://a:99999999/",
        "http://[::1",
        "http://a\n",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(M890Error, match="must be as http://localhost:8000/v1"):
        Endpoint(url, ApiKey("M890_NO_KEY"))


@pytest.mark.parametrize("url", ["http://me:secret@a/", "http://a/?key=secret", "http://a/#secret"])
def test_url_with_a_secret_is_refused_unseen(url: str) -> None:
    with pytest.raises(M890Error, match="a key comes from the environment") as refused:
        Endpoint(url, ApiKey("M890_NO_KEY"))
    assert "secret" not in str(refused.value)


class Killed(BaseException):
    """In place of a process that is killed."""


PLAY = [
    says("Look.", [{"id": "a", **call("read_task")}, {"id": "b", **call("status")}]),
    says("Now I think."),
    says(None, [{"id": "c", **TEST}, {"id": "d", **call("nonsense", "{")}]),
    SUBMIT,
]


@pytest.mark.parametrize(
    "numbers",
    [[9, 20, 31], pytest.param(range(2, 100), marks=pytest.mark.long)],
    ids=["few", "all"],
)
def test_killed_anywhere_it_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int]
) -> None:
    """Killed before or after a line of a log is written, whichever it is."""
    whole = recording(tmp_path / "whole")
    played = Played(whole, list(PLAY))
    whole.close()
    last = [line["message"] for line in played.lines if line["message"]]
    writes = 0
    append = Log.append

    for number in numbers:
        path = tmp_path / f"run{number}"
        run = recording(path)
        steps = list(PLAY)
        done = [0]

        def killed(self: Log, line: Any, *, at: int = number, done: list[int] = done) -> None:
            done[0] += 1
            if done[0] == at // 2 and at % 2 == 0:
                raise Killed
            append(self, line)
            if done[0] == at // 2:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Log, "append", killed)
            with ScriptedServer(steps) as server:
                endpoint = Endpoint(server.url, ApiKey("M890_NO_KEY"))
                player = None
                try:
                    player = ModelPlayer(run, endpoint, Sampling("m"), sleep=lambda _: None)
                    player.play()
                except Killed:
                    pass
                else:
                    writes = number
                finally:
                    if player is not None:
                        player.close()
                    run.close()
                # What the server had said and was not written down it says again.
                said = sum(line["message"]["role"] == "assistant" for line in _conversation(path))
        again = Recording(path)
        on = Played(again, list(PLAY)[said:])
        again.close()
        assert on.failure is None and again.ended == "submitted", number
        interrupted = (INTERRUPTED, False) in on.calls  # its evaluation was there, it was not
        kept = [line["message"] for line in on.lines if line["message"]][-len(last) :]
        same = [here == there for here, there in zip(kept, last, strict=True)]
        assert same.count(False) == interrupted
        assert len(on.calls) == len(played.calls)
        assert interrupted or on.calls == played.calls
        if writes:
            break
    assert writes > 20 or len(numbers) < 90
    assert verify(path).verified


def _conversation(path: Path) -> list[dict[str, Any]]:
    transcript = Transcript(path)
    try:
        return transcript.conversation
    finally:
        transcript.close()


def test_session_that_another_interface_began_goes_on(run: Recording) -> None:
    run.call("status")
    run.call("test", {"replace": FASTER, "base": 0})
    played = Played(run, [SUBMIT])
    assert played.failure is None and run.ended == "submitted"
    begin = played.server.requests[0]["messages"][1]["content"]
    assert begin.startswith("This session goes on")
    assert played.lines[0]["note"] == BEGINS


def test_messages_that_were_changed_are_refused(run: Recording) -> None:
    Played(run, [STATUS, *[fails(404)]])
    file = run.path / MESSAGES
    good = file.read_bytes()
    lines = good.splitlines(keepends=True)
    for bad, text in (
        (good.replace(b"Begin.", b"Begun."), "its chain is broken"),
        (b"".join(lines[1:]), "must be line 0"),
        (b"{}\n" + good, "other keys"),
        (b"nonsense\n", "damaged in line 1"),
        (good.replace(b'"note":""', b'"note":3'), "note must not be 3"),
        (good.replace(b'"name":"status"', b'"name":4'), "calls must have id"),
    ):
        file.write_bytes(bad)
        with pytest.raises(RunError, match=text):
            Transcript(run.path)
    file.write_bytes(good + b'{"index": 99, "no')
    transcript = Transcript(run.path)
    assert len(transcript.lines) == len(lines)
    transcript.close()


def test_messages_have_a_bound(run: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m890sim.protocol.chat.transcript.MOST_MESSAGES", 8000)
    played = Played(run, [STATUS] * 50)
    assert played.failure is not None and "takes no more" in str(played.failure)
    assert len(played.calls) < 50
    run.close()
    assert verify(run.path).verified


def test_command_plays_and_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("M890_API_KEY", SECRET)
    path = tmp_path / "run"
    given = ["--task", "row_softmax", "--chip", "m890", "--hidden", "2", "--out", str(path)]
    with ScriptedServer([STATUS, fails(401, SECRET)]) as server:
        command = ["agent", "--model", server.url, "--name", "a/model:7b"]
        assert main([*command, *given]) == 2
        err = capsys.readouterr().err
        assert "HTTP 401: (key)" in err
        assert f"m890 agent --resume {path} --model {server.url}" in err
        server.steps += [uses(TEST), SUBMIT]
        assert main(["agent", "--model", server.url, "--resume", str(path), "--json"]) == 0
    done = capsys.readouterr()
    found = json.loads(done.out)
    assert found["agent"] == server.requests[-1]["model"] == "a/model:7b"
    assert found["session"]["submitted"] == 1 and found["speedup"] > 1.2
    assert found["usage"] == {"prompt_tokens": 30, "completion_tokens": 6}
    assert server.keys[-1] == f"Bearer {SECRET}"
    assert SECRET not in done.out + done.err + err
    assert main(["verify", str(path)]) == 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "--model"),
        (["--model", "http://a"], "--name must say"),
        (["--model", "nothing", "--name", "m"], "must be as http://localhost"),
        (["--model", "http://a", "--name", "m", "--temperature", "nan"], "must lie in 0 ... 10"),
        (["--model", "http://a", "--name", "m" * 101], "agent must be a name"),
    ],
)
def test_command_refuses(given: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", *given]) == 2
    assert text in capsys.readouterr().err
