"""Base classes of settings and results."""

from __future__ import annotations

import pytest

from unisd_core.config.run import Config


def test_a_copy_takes_no_field_that_does_not_exist() -> None:
    assert Config().with_model(name_or_path="a").model.name_or_path == "a"
    with pytest.raises(ValueError, match="ModelConfig has no field path"):
        Config().with_model(path="a")
