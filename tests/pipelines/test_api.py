"""The pipelines from Python: names, options and results that callers rely on."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import api
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config

ROOT = Path(__file__).parents[2]

SIGNATURES = {
    "train": "(config: Config, options: TrainOptions | None = None) -> Summary",
    "evaluate": "(config: Config, options: EvaluateOptions | None = None) -> EvaluationResult",
    "synthesize": "(config: Config, options: SynthesizeOptions) -> SynthesisResult",
}
FIELDS = {
    "TrainOptions": "resume",
    "EvaluateOptions": "tasks weights baseline samples temperature pass_at perplexity out any_base",
    "SynthesizeOptions": "output input weights any_base",
    "EvaluationResult": "folder scores texts",
    "SynthesisResult": "folder summary",
}


@pytest.mark.parametrize(("name", "signature"), SIGNATURES.items())
def test_functions_keep_their_signatures(name: str, signature: str) -> None:
    assert str(inspect.signature(getattr(api, name))).replace("'", "") == signature


@pytest.mark.parametrize(("name", "fields"), FIELDS.items())
def test_options_and_results_keep_their_fields(name: str, fields: str) -> None:
    assert [field.name for field in dataclasses.fields(getattr(api, name))] == fields.split()


def test_everything_is_named() -> None:
    assert {*api.__all__} == {*SIGNATURES, *FIELDS, "Summary"}


def test_bad_input_is_a_user_error(tmp_path: Path) -> None:
    config = Config.model_validate({"model": {"name_or_path": str(tmp_path / "nothing")}})
    with pytest.raises(UserError, match="nothing"):
        api.evaluate(config)
    with pytest.raises(UserError, match="nothing"):
        api.synthesize(config, api.SynthesizeOptions(output=str(tmp_path / "out")))


def test_importing_starts_nothing_and_needs_no_torch() -> None:
    code = "import sys, pipelines.api; sys.exit(bool({'torch', 'vllm'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
