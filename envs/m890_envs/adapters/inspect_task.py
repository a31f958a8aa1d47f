"""A task for Inspect (inspect_ai 0.3): its model plays a session with the session's own tools.

`inspect eval m890_envs/kernel_source -T docs=none --model PROVIDER/MODEL`
"""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageTool,
    ChatMessageUser,
    execute_tools,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolDef, ToolError, ToolParam, ToolParams

from m890_envs.adapters.hosting import begun, judged, plan_for
from m890sim.protocol import Answer, Recording, Tool, instructions

AGENT = "inspect"
# The sessions of samples in this process, by the state's uuid: logs of Inspect cannot hold them.
_SESSIONS: dict[str, Recording] = {}


@task
def kernel_source(
    task: str = "extend",
    docs: str = "none",
    chip: str | None = None,
    seed: int = 0,
    samples: int = 1,
    evaluations: int = 432,
    calls: int = 1158,
    patience: int = 0,
    hidden: int | None = None,
    out: str = "runs/inspect",
) -> Task:
    """Sessions on `samples` chips, drawn by the seeds from `seed` on (one chip where it is named).

    out: where the run directories go. Score: speedup on hidden cases, 1.0 where the kernel is
    wrong; its metadata are the values of `hosting.judged`.
    """
    given: dict[str, Any] = {
        "task": task,
        "docs": docs,
        "chip": chip,
        "evaluations": evaluations,
        "calls": calls,
        "patience": patience,
        "hidden": hidden,
    }
    found = [
        Sample(
            id=f"{task}-seed{number}",
            input=instructions(plan_for(AGENT, seed=number, **given)),
            metadata={"plan": given | {"seed": number}, "out": out},
        )
        for number in range(seed, seed + samples)
    ]
    return Task(
        dataset=MemoryDataset(found),
        setup=begin(),
        solver=play(),
        cleanup=_cleanup,
        scorer=hidden_speedup(),
    )


@solver
def begin() -> Solver:
    """Opens the session of a sample; its tools are `state.tools` from then on."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        plan = plan_for(AGENT, **state.metadata["plan"])
        recording = await to_thread.run_sync(begun, plan, state.metadata["out"])
        _SESSIONS[state.uuid] = recording
        state.tools = [_tool(recording, each) for each in recording.session.tools.values()]
        return state

    return solve


@solver
def play() -> Solver:
    """Lets the model call tools until the session is over."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        session = _SESSIONS[state.uuid]
        while not session.ended:
            state.output = await get_model().generate(state.messages, tools=state.tools)
            message = state.output.message
            state.messages.append(message)
            calls = message.tool_calls or []
            if not calls:
                answer = await to_thread.run_sync(session.turn)
                state.messages.append(ChatMessageUser(content=answer.text))
            for call in calls:
                before = session.calls
                alone = message.model_copy(update={"tool_calls": [call]})
                answers, _ = await execute_tools([*state.messages[:-1], alone], state.tools)
                if session.calls == before and not session.ended:
                    # Inspect refused the call itself; the session counts it and says what is wrong.
                    arguments = call.parse_error or call.arguments
                    said = await to_thread.run_sync(session.call, call.function, arguments)
                    answers = [
                        ChatMessageTool(
                            content=said.text, tool_call_id=call.id, function=call.function
                        )
                    ]
                state.messages.extend(answers)
        state.completed = True
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def hidden_speedup() -> Scorer:
    """Speedup on hidden cases of what was submitted, else of the best right kernel."""

    async def score(state: TaskState, target: Target) -> Score:
        recording = _SESSIONS[state.uuid]
        found = await to_thread.run_sync(judged, recording)
        chosen = recording.session.chosen
        source = None if chosen is None else recording.session.source(chosen.index)
        return Score(value=found["score"], answer=source, metadata=found)

    return score


async def _cleanup(state: TaskState) -> None:
    recording = _SESSIONS.pop(state.uuid, None)
    if recording is not None:
        recording.close()


def _tool(recording: Recording, tool: Tool) -> ToolDef:
    async def execute(**kwargs: Any) -> str:
        answer: Answer = await to_thread.run_sync(recording.call, tool.name, kwargs)
        if not answer.ok:
            raise ToolError(answer.text)
        return answer.text

    properties = {
        name: ToolParam.model_validate(schema)
        for name, schema in tool.schema()["properties"].items()
    }
    return ToolDef(
        execute,
        name=tool.name,
        description=tool.text,
        parameters=ToolParams(properties=properties),
        parallel=False,  # calls are logged in the order in which the model made them
        max_output=0,  # the session bounds its answers itself
    )
