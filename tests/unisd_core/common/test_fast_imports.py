"""While libraries are imported nothing is collected, and afterwards all is as before."""

from __future__ import annotations

import gc

import pytest

from unisd_core.common.fast_imports import importing


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_collector_waits_and_goes_on_as_it_was(enabled: bool, fails: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    frozen = gc.get_freeze_count()
    try:
        with importing():
            assert not gc.isenabled()
            kept = [object for _ in range(10)]
            if fails:
                raise ImportError("no such library")
    except ImportError:
        assert fails
    finally:
        found, after = gc.isenabled(), gc.get_freeze_count()
        gc.unfreeze()
        gc.enable()
    assert found == enabled
    assert after > frozen and kept
