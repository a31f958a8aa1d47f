"""ModelPlayer: a model plays a session, message by message, until the session is over.

Everything is written down before anything follows from it: the model's message before its calls are
made, a call before its answer is told. So a player that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from m890sim.messages import shown
from m890sim.protocol.answers import Answer
from m890sim.protocol.chat.endpoint import Endpoint, ModelError
from m890sim.protocol.chat.replies import ModelCall, ModelReply, ReplyError, kept_calls, reply_of
from m890sim.protocol.chat.transcript import BEGINS, Transcript
from m890sim.protocol.chat.window import HEAD, ChatWindow
from m890sim.protocol.description import instructions
from m890sim.protocol.record import Recording

MOST_WAIT = 60.0  # seconds between two tries, where the server does not ask for more
MOST_ASKED = 3600.0  # that a server may ask to wait
FIRST = "Begin."
GOES_ON = (
    "This session goes on; what was said before is not known here. Call status and read_task "
    "first; read_reference shows the text of every evaluation."
)
CUT = "Your message was cut off at its greatest length. "

Told = Callable[[str], None]
Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is asked. None: as its server does.

    retries: further tries of one request. context: characters of the conversation that are sent.
    """

    model: str
    temperature: float | None = None
    max_tokens: int | None = None
    retries: int = 8
    context: int = 400_000

    def body(self) -> dict[str, Any]:
        """What every request says beside messages and tools."""
        found: dict[str, Any] = {"model": self.model}
        if self.temperature is not None:
            found["temperature"] = self.temperature
        if self.max_tokens is not None:
            found["max_tokens"] = self.max_tokens
        return found


class ModelPlayer:
    """Plays the session of a recording with the model behind an endpoint.

    told: called with a line for whoever watches. Raises: RunError where messages.jsonl is damaged.
    """

    def __init__(
        self,
        recording: Recording,
        endpoint: Endpoint,
        sampling: Sampling,
        *,
        told: Told = lambda _: None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.recording, self.endpoint, self.sampling = recording, endpoint, sampling
        self._told, self._sleep = told, sleep
        self._window = ChatWindow(sampling.context)
        self._pending: list[ModelCall] = []  # calls of the last message that are not answered yet
        self._turn = False  # the last message is the model's, and has no call
        self._numbers = 0  # calls of the conversation so far, for ids
        self._tools = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.text,
                    "parameters": tool.schema(),
                },
            }
            for tool in recording.session.tools.values()
        ]
        self.transcript = Transcript(recording.path)
        try:
            self._take_up()
        except BaseException:
            self.close()
            raise

    def play(self) -> None:
        """Go on until the session is over. Raises: ModelError, RunError; both can be resumed."""
        while not self.recording.ended:
            if self._pending:
                self._call(self._pending[0])
            elif self._turn or self.recording.late:
                self._idle()
            else:
                self._listen()

    def close(self) -> None:
        """Give messages.jsonl free."""
        self.transcript.close()

    def usage(self) -> dict[str, int]:
        """Tokens by kind, as the server counted them, of the whole session."""
        found: dict[str, int] = {}
        for line in self.transcript.lines:
            for key, value in (line["usage"] or {}).items():
                if type(value) is int:
                    found[key] = found.get(key, 0) + value
        return found

    # One step each.

    def _listen(self) -> None:
        """Ask for the next message, and write it down."""
        reply = self._ask()
        self._add(reply.message, said=reply.said, usage=reply.usage)
        self._expect(reply)
        if self._turn and reply.finish == "length":
            self._note("the message was cut off at its greatest length")

    def _expect(self, reply: ModelReply) -> None:
        # As the model said them, where it was not killed meanwhile.
        self._pending = list(reply.calls)
        self._turn = not reply.calls

    def _call(self, call: ModelCall) -> None:
        number = self.recording.calls
        answer = self.recording.call(call.name, call.arguments)
        self._told(f"call {number}: {shown(str(call.name))}: {_first_line(answer)}")
        self._answered(call.id, answer, number)

    def _answered(self, identity: str, answer: Answer, number: int) -> None:
        left = answer.left
        text = answer.text
        if left and not answer.ended:
            text += f"\n({left['evaluations']} evaluations and {left['calls']} calls left)"
        self._add({"role": "tool", "tool_call_id": identity, "content": text}, call=number)
        self._pending.pop(0)

    def _idle(self) -> None:
        """A turn without a call."""
        number = self.recording.calls
        self._silent(self.recording.turn(), number)

    def _silent(self, answer: Answer, number: int) -> None:
        cut = any("cut off" in line["note"] for line in self.transcript.lines[-1:])
        text = (CUT if cut else "") + answer.text
        self._told(f"call {number}: none: {_first_line(answer)}")
        self._add({"role": "user", "content": text}, call=number)
        self._turn = False

    # Asking.

    def _ask(self) -> ModelReply:
        """The model's next message, after as many tries as it takes. Raises: ModelError."""
        tries = 0
        while True:
            body = self.sampling.body() | {"messages": self._window.view(), "tools": self._tools}
            try:
                return reply_of(self.endpoint.ask(body), self._numbers)
            except ReplyError as error:
                failure = ModelError(f"{self.endpoint.url}: {error}", passing=True)
            except ModelError as error:
                failure = error
            if failure.too_long and self._window.tighten():
                self._note(f"{failure}; from now on {self._window.most} characters are sent")
                continue
            if not failure.passing or tries >= self.sampling.retries:
                self._note(f"{failure}; given up after {tries + 1} tries")
                raise failure
            wait = min(MOST_WAIT, 2.0**tries)
            if failure.after is not None:
                wait = max(wait if failure.after <= 0 else 0.0, failure.after)
            if wait > MOST_ASKED:
                self._note(f"{failure}; it asks to wait {wait:.0f} s, which is too long")
                raise failure
            tries += 1
            self._note(f"{failure}; try {tries + 1} after {wait:g} s")
            self._wait(wait)
            if self.recording.late:
                return ModelReply({"role": "assistant", "content": ""}, (), "late", None, "")

    def _wait(self, seconds: float) -> None:
        """Wait, but not beyond the session's own time."""
        most = self.recording.session.terms.seconds
        if most:
            seconds = min(seconds, max(0.0, most - self.recording.seconds) + 0.01)
        self._sleep(seconds)

    # What is written down.

    def _add(self, message: dict[str, Any], **more: Any) -> None:
        self.transcript.add(message, self.recording.seconds, **more)
        self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        self._window.add(message)
        self._numbers += len(message.get("tool_calls", ()))

    def _note(self, text: str) -> None:
        self.transcript.add(None, self.recording.seconds, note=text[:2000])
        self._told(text)

    def _take_up(self) -> None:
        """Come to where the files say that the session stands; else begin a conversation anew."""
        lines = self.transcript.conversation
        for line in lines:
            message = line["message"]
            if message["role"] == "assistant":
                self._pending = list(kept_calls(message, line["said"], self._numbers))
                self._turn = not self._pending
            elif message["role"] == "tool":
                self._pending = self._pending[1:]
            else:
                self._turn = False
            self._take(message)
        known, made = self.transcript.calls, self.recording.calls
        whole = len(lines) >= HEAD
        if whole and known == made:
            return
        last = self.recording.last
        if whole and known == made - 1 and last is not None and (self._pending or self._turn):
            # Killed between the call and its answer.
            if self._pending:
                self._answered(self._pending[0].id, last, known)
            else:
                self._silent(last, known)
            return
        self._begin(GOES_ON if made else FIRST)

    def _begin(self, first: str) -> None:
        self._window = ChatWindow(self.sampling.context)
        self._pending, self._turn, self._numbers = [], False, 0
        self._note(BEGINS)
        rules = instructions(self.recording.plan)
        self._add({"role": "system", "content": rules})
        # The calls that were made so far belong to no message here.
        made = self.recording.calls
        self._add({"role": "user", "content": first}, call=made - 1 if made else None)


def _first_line(answer: Answer) -> str:
    return shown(answer.text.partition("\n")[0], 160)
