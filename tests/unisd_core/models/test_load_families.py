"""Properties of a model of any supported architecture, without an engine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from tests.support.families import FAMILIES
from tests.support.tiny import make_tiny_model
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.config.run import Config, LoraConfig
from unisd_core.models.chat.chat import Chat
from unisd_core.models.load import (
    check_vocabulary,
    hidden_states,
    lm_head_weight,
    load_base,
    load_tokenizer,
    stop_token_ids,
)
from unisd_core.models.lora import adapter_state, add_lora, load_adapter_state, save_merged
from unisd_core.objective.divergence import linear_divergence
from unisd_core.views.builder import ViewBuilder

LORA = LoraConfig(r=4, lora_alpha=6.0)
# Longer than Gemma's sliding window and than the length Llama's rope is stretched from.
IDS_BT = torch.randint(11, 250, (2, 300), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("families") / family, family=family)


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(input_ids=IDS_BT, use_cache=False).logits


def test_the_tiny_model_has_what_sets_its_family_apart(folder: Path, family: str) -> None:
    model = load_base(folder)
    parameters = dict(model.named_parameters())
    assert type(model) is FAMILIES[family].model
    assert ("lm_head.weight" in parameters) == (family == "llama3")
    assert any(name.endswith("q_proj.bias") for name in parameters) == (family == "qwen2")
    assert any(name.endswith("q_norm.weight") for name in parameters) == (family == "gemma3")


@pytest.mark.parametrize(
    ("family_name", "changes"),
    [
        ("llama3", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
        ("gemma3", {"sliding_window": 4096}),
    ],
)
def test_positions_count_in_the_test_input(
    family_name: str, changes: dict[str, object], tmp_path: Path
) -> None:
    with_it = load_base(make_tiny_model(tmp_path / "a", family=family_name))
    without = load_base(make_tiny_model(tmp_path / "b", family=family_name, **changes))
    assert (logits(with_it) - logits(without)).abs().max() > 1e-2


@torch.no_grad()
def test_hidden_state_times_head_is_the_logits(folder: Path) -> None:
    model = load_base(folder)
    ours_BTV = hidden_states(model, IDS_BT) @ lm_head_weight(model).T
    torch.testing.assert_close(ours_BTV, logits(model), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_right_padding_does_not_touch_the_tokens_before_it(folder: Path) -> None:
    model = load_base(folder)
    short_BT = IDS_BT[:1, :90]
    padded_BT = torch.cat([short_BT, torch.zeros(1, 40, dtype=torch.long)], dim=1)
    torch.testing.assert_close(
        hidden_states(model, padded_BT)[:, :90], hidden_states(model, short_BT), rtol=0, atol=1e-5
    )


def test_a_merged_checkpoint_is_the_model_with_its_adapter(folder: Path, tmp_path: Path) -> None:
    model = add_lora(load_base(folder), LORA, seed=1)
    generator = torch.Generator().manual_seed(2)
    state = {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in adapter_state(model).items()
    }
    assert len(state) == 2 * len(LORA.target_modules) * 2
    before = logits(model)
    load_adapter_state(model, state)
    adapted = logits(model)
    assert (adapted - before).abs().max() > 0.1
    save_merged(folder, state, LORA, tmp_path / "merged")
    merged = logits(load_base(tmp_path / "merged"))
    torch.testing.assert_close(merged, adapted, rtol=0, atol=2e-4)


def test_the_end_of_a_turn_stops_a_completion(folder: Path, family: str) -> None:
    tokenizer = load_tokenizer(folder)
    check_vocabulary(tokenizer, load_base(folder).config)
    end_of_turn = tokenizer.convert_tokens_to_ids(FAMILIES[family].end_of_turn)
    stops = stop_token_ids(folder, tokenizer)
    assert end_of_turn in stops
    assert stops == sorted(tokenizer.convert_tokens_to_ids(list(FAMILIES[family].stops)))
    assert (tokenizer.eos_token_id == end_of_turn) == (family != "gemma3")


@pytest.mark.parametrize("reference_format", ["chat_turn", "appended"])
def test_every_view_is_rendered_in_the_familys_template(
    folder: Path, family: str, reference_format: str
) -> None:
    tokenizer = load_tokenizer(folder)
    config = Config.model_validate({"views": {"reference_format": reference_format}})
    task = ToyTask()
    builder = ViewBuilder(Chat(tokenizer, config.model), task, config)
    row = toy_row("a", "What is two and two?", "four", hint="Count on your fingers.")
    wrong = task.wrong_reference(row, random.Random(0))
    assert wrong is not None
    views = {
        "student": builder.prompt(row),
        "teacher": builder.teacher(row),
        "negative": builder.teacher(wrong),
        "auxiliary": builder.auxiliary(row, "One and one is two."),
    }
    texts = {name: tokenizer.decode(ids) for name, ids in views.items()}
    kind = FAMILIES[family]
    opening = texts["student"].partition(row.prompt)[2].partition(kind.end_of_turn)[2]
    assert "assistant" in opening or "model" in opening
    for name, text in texts.items():
        assert text.endswith(opening), "every view ends with the header of the assistant's turn"
        assert row.prompt in text
        assert (row.reference in text) == (name == "teacher")
        if kind.bos is not None and family != "smollm2":
            assert text.startswith(kind.bos) and text.count(kind.bos) == 1
    assert texts["negative"].replace(wrong.reference, row.reference) == texts["teacher"]
    # Header words and contents are separate tokens: a template's tokens were not spelled out.
    assert all(tokenizer.convert_tokens_to_ids(kind.end_of_turn) in ids for ids in views.values())


def test_a_step_of_the_divergence_moves_every_target_and_lowers_it(folder: Path) -> None:
    model = add_lora(load_base(folder), LORA, seed=0)
    head_VH = lm_head_weight(model)
    teacher_NH = hidden_states(model, IDS_BT[1:])[0].detach()
    moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(moving, lr=1e-2)
    values = []
    for _ in range(2):
        student_NH = hidden_states(model, IDS_BT[:1])[0]
        terms = linear_divergence(student_NH, teacher_NH, head_VH, IDS_BT[0], alpha=0.5)
        loss = terms.divergence_N.mean()
        values.append(float(loss.detach()))
        loss.backward()
        ends = {n: p.grad for n, p in model.named_parameters() if "lora_B" in n}
        assert len(ends) == 2 * len(LORA.target_modules)
        assert all(grad is not None and grad.abs().max() > 0 for grad in ends.values())
        optimizer.step()
        optimizer.zero_grad()
    assert values[1] < values[0]
