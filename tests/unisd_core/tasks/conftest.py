import os
from typing import Any

import pytest


@pytest.fixture(scope="session")
def smollm2_tokenizer() -> Any:
    """The tokenizer of SmolLM2-Instruct from UNISD_TOKENIZER (a folder) or the local model cache;
    never downloaded."""
    transformers = pytest.importorskip("transformers")
    path = os.environ.get("UNISD_TOKENIZER", "HuggingFaceTB/SmolLM2-135M-Instruct")
    try:
        return transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        pytest.skip(f"no SmolLM2 tokenizer at {path} ({type(error).__name__}); set UNISD_TOKENIZER")
