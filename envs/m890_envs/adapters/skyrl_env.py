"""An environment for SkyRL-gym (skyrl_gym 0.4): an episode is a session, an answer a call.

Importing this file registers it: `skyrl_gym.make("m890", env_config={...}, extras={...})`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import skyrl_gym
from omegaconf import DictConfig, OmegaConf
from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput, ConversationType

from m890_envs.adapters.rollouts import KernelRollout
from m890_envs.writing import CHARACTERS, KERNEL_MARK, SEARCH, ActionError, call_of
from m890sim.agents.terms import MOST_SOURCE
from m890sim.errors import M890Error
from m890sim.protocol import TOOLS

NAME = "m890"  # in SkyRL-gym's registry
ASKED = "Make a kernel faster on an accelerator that you have not seen before."
OPTIONS_OF_ROWS = ("task", "chip", "cases", "docs", "start")
TAGS = f"""Or, as here: one tool's name as a tag between <tool> and </tool>, in it the arguments:
JSON, or for test and check a kernel or replacements as they are, or nothing:
<tool><test>
{SEARCH}
    BK: Tunable = 64
=======
    BK: Tunable = 128
>>>>>>> REPLACE
</test></tool>
<tool><read_reference>{{"evaluation": 1}}</read_reference></tool>
<tool><submit></submit></tool>
What you think before </think> is passed over, and with tags all that stands outside of them.
"""


def rows(count: int, first: int = 0, **named: Any) -> list[dict[str, Any]]:
    """Rows of a data set, one for each seed from `first` on; named: task, chip, docs of all."""
    return [
        {
            "data_source": NAME,
            "prompt": [{"role": "user", "content": ASKED}],
            "env_class": NAME,
            "reward_spec": {"method": "rule", "ground_truth": None},
            "seed": seed,
            **named,
        }
        for seed in range(first, first + count)
    ]


class KernelTextEnv(BaseTextEnv):
    """A session whose actions are texts, with a reward for the speedup on hidden cases.

    env_config: arguments of KernelRollout and KernelSourceEnv (docs/environments.md), such as
    task, docs, budget, hidden, reward; a mapping or an OmegaConf one. extras: a row of `rows`:
    its seed draws the chip; `max_turns` is the horizon. Reward: by default all of it with the last
    step, log2 of the speedup on hidden cases; reward="dense" gives the same sum as it is earned.
    Raises: TypeError, ValueError, M890Error for what is refused.
    """

    def __init__(
        self,
        env_config: DictConfig | Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(env_config, DictConfig):
            env_config = OmegaConf.to_container(env_config, resolve=True)
        settings, row = dict(env_config or {}), dict(extras or {})
        if row.get("max_turns") is not None:
            settings["horizon"] = row["max_turns"]
        self._seed = row.get("seed", 0)
        self._options = {name: row.get(name) for name in OPTIONS_OF_ROWS}
        self._rollout = KernelRollout(**settings)
        self._over = True  # until init
        self._metrics: dict[str, Any] = {}
        self.max_turns = settings.get("horizon", 1158)

    def init(self, prompt: ConversationType) -> tuple[ConversationType, dict[str, Any]]:
        """Begin the session: its rules and task follow on the last message of the prompt."""
        said = f"{self._rollout.begin(self._seed, **self._options)}\n{TAGS}"
        messages = [dict(message) for message in prompt]
        if messages and messages[-1]["role"] == "user":
            messages[-1]["content"] += f"\n\n{said}"
        else:
            messages.append({"role": "user", "content": said})
        self.turns, self._over, self._metrics = 0, False, {}
        return messages, {}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Make the call that a text says. With the last one nothing is told: the kernel is judged.

        Raises: M890Error where no episode is going on.
        """
        if self._over:
            raise M890Error("no episode is going on; call init() before the next step")
        self.turns += 1
        report, reward = self._rollout.act(action_of(action))
        self._over = self._rollout.over
        if self._over:
            self._metrics = self._rollout.metrics
        told = [] if self._over else [{"role": "user", "content": report}]
        return BaseTextEnvStepOutput(
            observations=told, reward=reward, done=self._over, metadata=dict(self._metrics)
        )

    def get_metrics(self) -> dict[str, Any]:
        """After the end: score, speedup, hidden_speedup, hidden_gap, gap_closed, right and others.

        Their numbers are averaged over episodes by SkyRL-gym's own rule. Empty before.
        """
        return dict(self._metrics)


def action_of(text: str) -> str:
    """The action of `writing.GUIDE` that an answer of a model means; of no call, the answer."""
    text = str(text).rpartition("</think>")[2]
    text = "".join(sign if sign in CHARACTERS else "?" for sign in text)
    name, found, body = _tagged(text)
    if not found:
        return text
    arguments: Any = body.strip()
    if name in ("test", "check") and (KERNEL_MARK in body or SEARCH in body):
        try:
            arguments = call_of(body, (), MOST_SOURCE)[1]
        except ActionError:
            return text
    return json.dumps({"tool": name, "arguments": arguments})


def _tagged(text: str) -> tuple[str, bool, str]:
    """The name of a tool between tags, whether there is one, and what stands within."""
    within = text.partition("<tool>")[2].rpartition("</tool>")[0].strip()
    for name in TOOLS:
        if within.startswith(f"<{name}>") and within.endswith(f"</{name}>"):
            return name, True, within[len(name) + 2 : -len(name) - 3]
    return "", False, ""


if NAME not in skyrl_gym.registry:
    skyrl_gym.register(id=NAME, entry_point=f"{__name__}:{KernelTextEnv.__name__}")
