import os
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from unisd_core.common.errors import UserError
from unisd_core.models.fetch import DEFAULT_MODEL, cache_folder
from unisd_core.models.load import load_tokenizer


@pytest.fixture(scope="session")
def smollm2_tokenizer() -> PreTrainedTokenizerBase:
    """The tokenizer of SmolLM2-Instruct from UNISD_TOKENIZER (a folder) or the model cache;
    never downloaded."""
    converted = cache_folder() / "models" / (DEFAULT_MODEL.replace("/", "--") + "-from-gguf")
    folder = Path(os.environ.get("UNISD_TOKENIZER") or converted)
    try:
        return load_tokenizer(folder)
    except UserError as error:
        pytest.skip(f"no SmolLM2 tokenizer in {folder} ({error}); run make demo once")
