from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.command.cli import PRESETS_DIR
from unisd_core.common.errors import UserError
from unisd_core.config.load import changed_keys, config_sha256, dump_config
from unisd_core.config.run import Config


def preset(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def load(*overrides: str) -> Config:
    return Config.from_preset(None, overrides)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("views.num_auxiliary=0", "views.num_auxiliary=0: K must be at least 1"),
        ("training.step=20", "training.step is not a setting; did you mean training.max_steps?"),
        ("learning_rate=1", "learning_rate is not a setting; did you mean training.learning_rate?"),
        ("qwertz=1", "qwertz is not a setting; --settings prints every setting"),
        ("training=3", "training is a group of settings; set its keys, as training.max_steps"),
        ("training.max_steps=many", "training.max_steps=many: max_steps must be a whole number"),
        ("training.max_steps=2.5", "training.max_steps=2.5: max_steps must be a whole number"),
        ("training.max_steps=true", "training.max_steps=true: max_steps must be a whole number"),
        ("training.max_steps=", "training.max_steps=null: max_steps must be a whole number"),
        ("rollout.top_p=1.5", "rollout.top_p=1.5: top_p must be at most 1.0"),
        ("rollout.temperature=0", "rollout.temperature=0: temperature must be above 0.0"),
        ("training.learning_rate=1e400", "learning_rate must be a finite number"),
        ("training.max_steps=" + "1" * 5000, "max_steps must be a whole number"),
        ("training.learning_rate=.inf", "learning_rate must be a number"),
        ("objective.divergence.clip=x", "clip must be a number or null"),
        ("filter.drop_truncated=yes", "drop_truncated must be true or false"),
        ("teacher.kind=emma", "kind must be one of 'frozen', 'ema' or 'live'"),
        ("model.lora.target_modules=q_proj", "target_modules must be a list such as [a, b]"),
        ("model.lora.target_modules=[q_proj, 1]", "target_modules must be text"),
        ("name=a/b", "name must be text that matches"),
        ("training.batch_size=12", "rollout.chunk_size (8) must divide training.batch_size (12)"),
        ("training.max_steps", "'training.max_steps' is not an override; write key=value"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_key_and_remedy(
    override: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load(override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.learning_rate=1e-3", ("training", "learning_rate"), 1e-3),
        ("training.max_steps=020", ("training", "max_steps"), 20),
        ("objective.agreement.level=off", ("objective", "agreement", "level"), "off"),
        ("objective.divergence.clip=None", ("objective", "divergence", "clip"), None),
        ("objective.divergence.clip=null", ("objective", "divergence", "clip"), None),
        ("name=2024", ("name",), "2024"),
        ("name=2026-01-02", ("name",), "2026-01-02"),
        ("data_dir=7", ("data_dir",), "7"),
        ("model.lora.target_modules=[q_proj]", ("model", "lora", "target_modules"), ("q_proj",)),
        ("objective.divergence.alpha=1", ("objective", "divergence", "alpha"), 1.0),
    ],
)
def test_override_values_have_the_type_of_their_setting(
    override: str, key: tuple[str, ...], value: object
) -> None:
    found: object = load(override)
    for part in key:
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_the_command_line_wins_over_a_preset_and_a_preset_over_its_base(tmp_path: Path) -> None:
    preset(tmp_path, "root", "training: {max_steps: 1, batch_size: 8, max_staleness: 3}\nseed: 5\n")
    preset(tmp_path, "leaf", "base: root\ntraining:\n  max_steps: 2\n  batch_size: 16\n")
    config = Config.from_preset("leaf", ["training.max_steps=3"], tmp_path)
    assert config.training.max_steps == 3
    assert config.training.batch_size == 16
    assert config.training.max_staleness == 3
    assert config.seed == 5


def test_a_path_is_a_preset_and_its_base_may_lie_beside_it_or_in_the_presets(
    tmp_path: Path,
) -> None:
    preset(tmp_path, "near", "base: demo\nseed: 3\n")
    path = preset(tmp_path, "mine", "base: ./near.yaml\n")
    config = Config.from_preset(str(path))
    assert config.seed == 3
    assert config.training == Config.from_preset("demo").training


def test_of_several_presets_the_later_one_wins_key_by_key(tmp_path: Path) -> None:
    preset(tmp_path, "root", "seed: 5\ntraining: {max_steps: 1}\n")
    preset(tmp_path, "one", "base: root\ntraining: {max_steps: 2, batch_size: 8}\n")
    preset(tmp_path, "two", "training: {batch_size: 16}\nname: two\n")
    config = Config.from_preset(["one", "two"], ["name=mine"], tmp_path)
    assert (config.seed, config.training.max_steps, config.training.batch_size) == (5, 2, 16)
    assert config.name == "mine"
    turned = Config.from_preset(["two", "one"], [], tmp_path)
    assert (turned.name, turned.training.batch_size) == ("two", 8)
    assert Config.from_preset([]) == Config.from_preset(None) == Config.from_preset() == Config()
    assert Config.from_preset(["one"], [], tmp_path) == Config.from_preset("one", [], tmp_path)


def test_a_name_with_a_slash_lies_below_the_presets_or_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets, here = tmp_path / "presets", tmp_path / "here"
    for folder in (presets / "models", here / "models"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    preset(presets / "models", "large", "seed: 1\n")
    preset(here / "models", "large", "seed: 2\n")
    (here / "models" / "other").write_text("seed: 3\n")
    preset(presets, "leaf", "base: models/large\n")
    assert Config.from_preset("models/large", [], presets).seed == 1
    assert Config.from_preset("leaf", [], presets).seed == 1
    assert Config.from_preset("models/large.yaml", [], presets).seed == 2
    assert Config.from_preset("models/other", [], presets).seed == 3
    for wrong in ("models/larg", "larg", "large"):
        with pytest.raises(UserError, match=r"did you mean models/large\?"):
            Config.from_preset(wrong, [], presets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  step: 1\n", "training.step is not a setting"),
        ("training: 3\n", "training is a group of settings"),
        ("training:\n", "training is a group of settings"),
        ("training:\n  max_steps: x\n", "training.max_steps=x: max_steps must be a whole number"),
        ("seed: 1\nseed: 2\n", "key 'seed' appears twice"),
        ("- 1\n", "a preset is a mapping"),
        ("seed: [1\n", "line 2: not valid YAML"),
        ("base: bad\n", "'base' leads back"),
        ("base: 3\n", "base=3 must be the name of a preset"),
        ("task: &a [*a]\n", "line 1: not valid YAML (aliases and tags are not read here"),
        ("seed: !!int x\n", "line 1: not valid YAML (aliases and tags are not read here"),
        (f"task: {'[' * 5000}\n", "line 1: not valid YAML (nested too deep)"),
        (f"seed: {'1' * 5000}\n", "not valid YAML (Exceeds the limit"),
        ('data_dir: "a\\0"\n', "data_dir: holds a NUL"),
        ('data_dir: "\\ud800"\n', "data_dir: holds a NUL or a character that is no Unicode"),
    ],
)
def test_a_wrong_preset_is_one_line_that_names_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    path = preset(tmp_path, "bad", text)
    with pytest.raises(UserError) as caught:
        Config.from_preset("bad", [], tmp_path)
    assert str(caught.value).startswith(f"{path}:")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000 + "b.yaml"])
def test_a_name_too_long_for_a_file_is_an_unknown_preset(name: str) -> None:
    with pytest.raises(UserError, match="no file") as caught:
        Config.from_preset(name)
    assert len(str(caught.value)) < 2000


def test_an_unknown_preset_is_answered_with_a_name_that_exists() -> None:
    with pytest.raises(UserError, match=r"preset 'unisd_ful'.*did you mean unisd_full\?"):
        Config.from_preset("unisd_ful")


@pytest.mark.parametrize("path", sorted(PRESETS_DIR.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_loads_under_its_own_name(path: Path) -> None:
    assert Config.from_preset(path.stem).name == path.stem


@pytest.mark.parametrize(
    "name",
    sorted(
        path.relative_to(PRESETS_DIR).with_suffix("").as_posix()
        for path in PRESETS_DIR.glob("*/**/*.yaml")
    ),
)
def test_every_preset_in_a_subfolder_loads_after_another_and_leaves_its_name(name: str) -> None:
    assert Config.from_preset([name]) != Config()
    joined = Config.from_preset(["unisd_full", name])
    assert joined.name == "unisd_full"
    assert joined.objective.contrastive == Config.from_preset("unisd_full").objective.contrastive


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (PRESETS_DIR / "models").glob("*.yaml"))
)
def test_a_model_preset_bounds_what_it_counts_on(name: str) -> None:
    config = Config.from_preset(f"models/{name}")
    # A longer row would be a micro-batch of its own, beyond the limit.
    row = config.model.max_prompt_length + config.rollout.max_completion_length
    view = config.model.max_view_length + config.rollout.max_completion_length
    assert config.training.micro_batch_tokens >= row
    assert config.scorer.batch_tokens >= view
    shared = config.generator.gpus + config.scorer.gpus
    if config.learner.gpus < 1:
        shared += config.learner.gpus
    assert shared == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["unisd_full", "demo"])
def test_the_full_method_runs_every_mechanism(name: str) -> None:
    config = Config.from_preset(name)
    objective = config.objective
    assert objective.divergence.weight > 0
    assert objective.divergence.clip is not None
    assert objective.agreement.level != "off"
    assert objective.agreement.gamma >= 0.1
    assert objective.contrastive.weight >= 0.1
    assert objective.features.weight >= 0.1
    assert config.teacher.kind == "ema"
    assert config.views.num_auxiliary >= 2


# Names that one YAML reader or another takes for a number, a date or a truth value.
tricky = st.sampled_from(["1e5", "010", "08", "0o17", "1_0", "on", "No", "2026-01-02", "null"])


@settings(max_examples=50, deadline=None)
@given(
    name=tricky | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]*", fullmatch=True),
    rate=st.floats(min_value=1e-30, max_value=1e30),
    clip=st.none() | st.floats(min_value=1e-3, max_value=1e9),
    data_dir=st.none() | st.text(st.characters(categories=["L", "N", "P", "Zs"])),
)
def test_a_dumped_configuration_loads_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    rate: float,
    clip: float | None,
    data_dir: str | None,
) -> None:
    config = Config.model_validate(
        {
            "name": name,
            "data_dir": data_dir,
            "training": {"learning_rate": rate},
            "objective": {"divergence": {"clip": clip}},
        }
    )
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert Config.from_preset(str(path)) == config
    # Readers with PyYAML's own rules see the same values.
    assert Config.model_validate(yaml.safe_load(dump_config(config))) == config


def test_the_digest_follows_the_settings_and_nothing_else() -> None:
    assert config_sha256(load("training.max_steps=7")) == config_sha256(
        load("training.max_steps=7")
    )
    assert config_sha256(load("training.max_steps=7")) != config_sha256(
        load("training.max_steps=8")
    )
    assert len(config_sha256(load())) == 64


def test_changed_keys_names_what_differs() -> None:
    after = load("training.max_steps=7", "objective.divergence.clip=null")
    assert changed_keys(load(), after) == ["objective.divergence.clip", "training.max_steps"]
    assert changed_keys(after, after) == []


def test_the_configuration_needs_no_heavy_library() -> None:
    program = (
        "import sys, unisd_core.config.method, unisd_core.config.load, pipelines.command.cli\n"
        "heavy = {'torch', 'ray', 'vllm', 'transformers', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_base_that_is_not_there_names_the_preset_that_asks_for_it(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: nowhere\n")
    with pytest.raises(UserError, match=r"mine\.yaml: base: preset 'nowhere': no file"):
        Config.from_preset([str(tmp_path / "mine.yaml")], [], tmp_path)


def test_overrides_may_be_values_by_key() -> None:
    given = {
        "model.name_or_path": Path("some/folder"),
        "training": {"max_steps": 3, "learning_rate": 1e-4},
        "objective.features.layers": (1, -1),
        "objective.divergence.clip": None,
    }
    config = Config.from_preset("demo", given)
    written = ["model.name_or_path=some/folder", "training.max_steps=3",
               "training.learning_rate=1e-4", "objective.features.layers=[1, -1]",
               "objective.divergence.clip=null"]  # fmt: skip
    assert config == Config.from_preset("demo", written)
    for wrong, message in [
        ({"training.steps": 3}, "training.steps is now called training.max_steps"),
        ({"training.max_steps": "3"}, "training.max_steps=3: max_steps must be a whole number"),
        ({"training": 3}, "training is a group of settings"),
    ]:
        with pytest.raises(UserError, match=f"^{message}"):
            Config.from_preset("demo", wrong)


def test_a_missing_folder_of_presets_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preset 'demo': no file .*; the folder of presets"):
        Config.from_preset("demo", [], tmp_path / "absent")
