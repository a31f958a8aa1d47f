"""A server for OpenEnv (openenv 0.10): a step is a call of a tool, each client has its own session.

`python -m m890_envs.adapters.openenv_server --port 8000`; settings are environment variables.
"""

from __future__ import annotations

import argparse
import math
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from os import environ
from typing import Any

import uvicorn
from openenv.core.env_server import Action, Environment, Observation, State, create_app
from openenv.core.env_server.types import EnvironmentMetadata
from pydantic import Field

from m890_envs.adapters.hosting import begun, judged, plan_for
from m890sim.protocol import Answer, Recording, instructions
from m890sim.session.arguments import choice_of, integer_of

AGENT = "openenv"
NAME = "m890"
REWARDS = ("best", "hidden")
_NOT_BEGUN = Answer(False, "no session is going on; call reset", {}, "not begun", {})


@dataclass(frozen=True, slots=True)
class ServedTerms:
    """What every session of a server is about; the client chooses its seed alone.

    reward: "best", the rise of log2(best right speedup on the public cases) with each step;
    "hidden", 0 until the end and then log2(speedup on hidden cases), which takes seconds to
    minutes. sessions: clients at once. out: the folder of run directories.
    Raises: TypeError, ValueError, M890Error.
    """

    task: str = "extend"
    docs: str = "none"
    chip: str | None = None
    evaluations: int = 432
    calls: int = 1158
    patience: int = 0
    hidden: int | None = None
    reward: str = "best"
    sessions: int = 8
    out: str = "runs/openenv"

    def __post_init__(self) -> None:
        choice_of("reward", self.reward, REWARDS)
        integer_of("sessions", self.sessions, 1, 10_000)
        self.plan(0)

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> ServedTerms:
        """From M890_TASK, M890_DOCS, M890_CHIP and so on. Raises: as the class."""
        given: dict[str, Any] = {}
        for name in cls.__dataclass_fields__:
            text = variables.get(f"M890_{name.upper()}")
            if text:
                number = name in ("evaluations", "calls", "patience", "hidden", "sessions")
                given[name] = int(text) if number else text
        return cls(**given)

    def plan(self, seed: int) -> Any:
        """The plan of a session; the seed draws the chip where none is named."""
        return plan_for(
            AGENT,
            task=self.task,
            docs=self.docs,
            chip=self.chip,
            seed=seed,
            evaluations=self.evaluations,
            calls=self.calls,
            patience=self.patience,
            hidden=self.hidden,
        )


class ToolAction(Action):
    """A call of a tool; without a tool, a turn of the agent that called none."""

    tool: str = Field("", description="the tool's name; empty for a turn without a call")
    arguments: dict[str, Any] | str = Field(
        default_factory=dict, description="its arguments: an object, or its JSON text"
    )


class ToolObservation(Observation):
    """What a session answers. `text` is for the agent, the rest says the same as data."""

    ok: bool = Field(True, description="false where nothing came of the call")
    text: str = Field("", description="the answer; after a reset the rules of the session")
    data: dict[str, Any] = Field(default_factory=dict, description="the answer as data")
    left: dict[str, int] = Field(default_factory=dict, description="what may still be spent")
    ended: str = Field("", description="why the session is over")
    tools: list[dict[str, Any]] = Field(
        default_factory=list, description="after a reset: name, description, parameters of each"
    )


class SessionState(State):
    """Where a session stands. It holds nothing of the chip, and no seed."""

    task: str = ""
    docs: str = ""
    best_speedup: float = 1.0
    evaluations: int = 0
    ended: str = ""


class SessionEnvironment(Environment):
    """Write a faster kernel for an accelerator that nobody has seen, with the session's tools."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, terms: ServedTerms) -> None:
        super().__init__()
        self.terms = terms
        self._recording: Recording | None = None
        self._episode: str | None = None
        self._best = 0.0  # log2, of what was rewarded
        self._steps = 0

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any
    ) -> ToolObservation:
        """Begin a session. seed: a fresh one where None."""
        self.close()
        plan = self.terms.plan(secrets.randbelow(2**31) if seed is None else seed)
        recording = self._recording = begun(plan, self.terms.out)
        self._episode = episode_id or uuid.uuid4().hex
        self._best, self._steps = 0.0, 0
        tools = [
            {"name": tool.name, "description": tool.text, "parameters": tool.schema()}
            for tool in recording.session.tools.values()
        ]
        session = recording.session
        return ToolObservation(text=instructions(plan), left=session.left, tools=tools, reward=0.0)

    def step(
        self, action: ToolAction, timeout_s: float | None = None, **kwargs: Any
    ) -> ToolObservation:
        """Make the call. A call that is wrong is answered with what to do."""
        recording = self._recording
        if recording is None:
            return _told(_NOT_BEGUN, 0.0)
        running = not recording.ended
        if action.tool:
            answer = recording.call(action.tool, action.arguments)
        else:
            answer = recording.turn()
        self._steps += running
        return _told(answer, self._reward(recording) if running else 0.0)

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        recording = self._recording
        if recording is None:
            return SessionState(episode_id=self._episode)
        session = recording.session
        return SessionState(
            episode_id=self._episode,
            step_count=self._steps,
            task=session.plan.task.name,
            docs=session.terms.docs,
            best_speedup=session.best_speedup,
            evaluations=len(session.log),
            ended=session.ended,
        )

    def get_metadata(self) -> EnvironmentMetadata:
        """Of all sessions of the server."""
        text = str(type(self).__doc__)
        return EnvironmentMetadata(name=NAME, description=text)

    def close(self) -> None:
        """Give the run directory free; the session can be resumed, or judged by m890 finish."""
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()

    def _reward(self, recording: Recording) -> float:
        if self.terms.reward == "hidden":
            return float(judged(recording)["log_score"]) if recording.ended else 0.0
        before, self._best = self._best, math.log2(recording.session.best_speedup)
        return self._best - before


def _told(answer: Answer, reward: float) -> ToolObservation:
    return ToolObservation(**answer.as_dict(), done=bool(answer.ended), reward=reward)


def make_app(terms: ServedTerms | None = None) -> Any:
    """The ASGI application; terms from the environment's variables where None."""
    found = ServedTerms.of(environ) if terms is None else terms
    return create_app(
        lambda: SessionEnvironment(found),
        ToolAction,
        ToolObservation,
        env_name=NAME,
        max_concurrent_envs=found.sessions,
        state_cls=SessionState,
    )


def main() -> None:
    """Serve until killed. Raises: SystemExit 2 for settings that are refused."""
    parser = argparse.ArgumentParser(
        description="Serve sessions to OpenEnv clients. Settings: the environment's variables "
        "M890_TASK, M890_DOCS, M890_CHIP, M890_EVALUATIONS, M890_CALLS, M890_PATIENCE, "
        "M890_HIDDEN, M890_REWARD (best, hidden), M890_SESSIONS, M890_OUT."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    try:
        app = make_app()
    except Exception as error:
        raise SystemExit(f"m890: {error}") from error
    uvicorn.run(app, host=args.host, port=args.port)


if __name__ == "__main__":
    main()
