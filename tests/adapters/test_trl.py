"""TRL's GRPOTrainer reads the tools of the environments, plays episodes with them, and trains."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from m890sim.protocol import TOOLS, Terms, tools_of
from tests.adapters.programs import program, ran
from tests.protocol.players import FASTER, WRONG

pytestmark = pytest.mark.adapters
if importlib.util.find_spec("trl") is None:
    pytest.skip("the extra trl is not installed", allow_module_level=True)

SMALL = {"task": "row_softmax", "chips": ["m890"], "hidden": 2}


def tokenizer() -> Any:
    """Bytes as tokens, the marks of Qwen 3 and its template, which TRL knows; no download."""
    import trl.chat_template_utils as templates
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {sign: number for number, sign in enumerate([*marks, *letters])}
    found = Tokenizer(models.BPE(vocabulary, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=found,
        eos_token=marks[2],
        pad_token=marks[0],
        additional_special_tokens=marks[1:2],
    )
    made.chat_template = templates.qwen3_chat_template
    return made


def model(size: int) -> Any:
    """A Qwen 3 of two small layers with random weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=20_000,
        eos_token_id=2,
        pad_token_id=0,
    )
    return Qwen3ForCausalLM(config)


def calls(*made: tuple[str, Any]) -> str:
    """What a model of the family says to call tools."""
    return "\n".join(
        f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"
        for name, arguments in made
    )


def trained(tmp_path: Path, factory: Any, scripts: list[list[str]], **row: Any) -> Any:
    """A trainer after one step on one prompt, whose generations say what the scripts say."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from m890_envs.adapters.trl_env import rows

    words = tokenizer()
    said = model(len(words))
    left = [list(script) for script in scripts]
    open_scripts = list(left)  # in the order in which TRL asks: those that called a tool last

    def generate(input_ids: Any, **_: Any) -> Any:
        assert len(input_ids) == len(open_scripts)
        texts = [script.pop(0) for script in open_scripts]
        open_scripts[:] = [
            script
            for script, text in zip(open_scripts, texts, strict=True)
            if "<tool_call>" in text
        ]
        ids = [words(f"{text}<|im_end|>")["input_ids"] for text in texts]
        longest = max(map(len, ids))
        new = torch.tensor([each + [0] * (longest - len(each)) for each in ids])
        return torch.cat([input_ids, new], dim=1)

    said.generate = generate
    trainer = GRPOTrainer(
        model=said,
        args=GRPOConfig(
            str(tmp_path / "out"),
            max_steps=1,
            per_device_train_batch_size=len(scripts),
            num_generations=len(scripts),
            max_completion_length=15_000,
            max_tool_calling_iterations=10,
            learning_rate=0.1,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            report_to=[],
            beta=0.0,
        ),
        train_dataset=Dataset.from_list(rows(1, 5, **row)),
        processing_class=words,
        environment_factory=factory,
    )
    before = said.model.embed_tokens.weight.detach().clone()
    trainer.train()
    trainer.moved = (said.model.embed_tokens.weight.detach() - before).abs().max().item()
    return trainer


def test_schemas_are_those_of_the_session() -> None:
    from transformers.utils import get_json_schema

    from m890_envs.adapters.trl_env import KernelFullToolEnv, KernelToolEnv

    for kind, docs in (
        (KernelToolEnv, "none"),
        (KernelToolEnv, "language"),
        (KernelFullToolEnv, "full"),
    ):
        env = kind(**SMALL, docs=docs)
        names = {name for name in vars(kind) | vars(KernelToolEnv) if not name.startswith("_")}
        assert names - {"metrics", "reset", "get_reward"} == set(tools_of(Terms(docs=docs)))
        for name in tools_of(Terms(docs=docs)):
            found = get_json_schema(getattr(env, name))["function"]
            assert (found["name"], found["description"]) == (name, TOOLS[name].text)
            parameters = found["parameters"]
            assert "required" not in parameters
            wanted = TOOLS[name].schema()["properties"]
            assert set(parameters["properties"]) == set(wanted)
            for key, schema in parameters["properties"].items():
                assert schema["type"] == wanted[key]["type"]
                assert schema["description"].startswith(wanted[key]["description"])


def test_a_step_of_training_is_made(tmp_path: Path) -> None:
    from m890_envs.adapters.trl_env import KernelToolEnv

    better = ("test", {"replace": FASTER, "base": 0})
    scripts = [
        [calls(("read_task", {})), calls(("test", {"replace": WRONG, "base": 0})), "I give up."],
        [calls(("status", {}), better), calls(("check", {"x": 1})), calls(("submit", {})), "Done."],
    ]
    trainer = trained(tmp_path, functools.partial(KernelToolEnv, **SMALL), scripts)
    first, second = trainer.environments
    assert first.metrics["score"] == 1.0 and first.metrics["right"] == 0.0
    assert first.metrics["ended"] == "whoever played it went away"
    assert second.metrics["score"] > 1.0 and second.metrics["right"] == 1.0
    assert second.metrics["ended"] == "submitted" and second.metrics["calls"] == 4
    found = trainer.state.log_history[0]
    wanted = (first.get_reward() + second.get_reward()) / 2
    assert found["rewards/KernelToolEnv/mean"] == pytest.approx(wanted)
    assert found["tools/call_frequency"] == 3.0 and found["tools/failure_frequency"] == 0.0
    assert trainer.moved > 0.0


def test_level_full_has_a_class_of_its_own() -> None:
    from m890_envs.adapters.trl_env import KernelFullToolEnv, KernelToolEnv

    with pytest.raises(ValueError, match="KernelFullToolEnv has full"):
        KernelToolEnv(docs="full")
    with pytest.raises(ValueError, match="KernelToolEnv has none and language"):
        KernelFullToolEnv().reset(docs="none")
    with pytest.raises(ValueError, match="not 'some'; KernelToolEnv has none"):
        KernelToolEnv(docs="some")
    env = KernelFullToolEnv(**SMALL)
    assert "- suggest: " in env.reset(seed=5)
    assert "evaluations spent" in env.suggest(most=1)


def test_generations_of_a_group_play_on_one_chip() -> None:
    from m890_envs.adapters.trl_env import KernelToolEnv, rows

    envs = [KernelToolEnv(task="row_softmax", hidden=2) for _ in range(3)]
    (row,) = rows(1, 7)
    (other,) = rows(1, 8)
    texts = []
    for env, each in zip(envs, (row, row, other), strict=True):
        env.reset(**each)
        texts.append(env.read_task())
    assert texts[0] == texts[1] != texts[2]


def test_program_of_the_documentation_runs(tmp_path: Path) -> None:
    assert "Public cases:" in ran(program("TRL"), tmp_path)
