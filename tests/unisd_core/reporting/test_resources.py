from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.reporting.energy import PowerModel
from unisd_core.reporting.resources import Resources, StageUse, account

STAGES = {
    "generate": StageUse(seconds=3000, tokens=1_000_000),
    "score": StageUse(seconds=2000, tokens=4_000_000, peak_memory_bytes=9_000_000_000),
    "learn": StageUse(seconds=1000, tokens=2_000_000, peak_memory_bytes=63_000_000_000),
}


def test_what_follows_from_the_measurements() -> None:
    found = account(1800, 4, 5_200_000, STAGES)
    assert found.million_tokens_per_device_hour == pytest.approx(2.6)
    assert found.peak_memory_bytes == 63_000_000_000
    assert found.estimated_kwh == pytest.approx(2 * 0.252)
    assert found.estimated_kwh_per_million_tokens == pytest.approx(0.252 / 2.6)
    assert found.estimated_kg_co2e == pytest.approx(2 * 0.252 * 0.475)


def test_the_line_says_what_is_estimated_and_from_what() -> None:
    assert account(1800, 4, 5_200_000, STAGES).line() == (
        "30.0 min on 4 devices, 5.20 M tokens (2.60 M per device-hour), peak memory 63.0 GB; "
        "estimated 0.504 kWh, 0.239 kg CO2e (300 W at 70 %, PUE 1.2, 475 g CO2e/kWh)"
    )
    cpu = PowerModel(device_watts=65, grams_per_kwh=20)
    assert account(0, 1, 0, {}, cpu).line() == (
        "0.0 min on 1 device, 0.00 M tokens; "
        "estimated 0.000 kWh, 0.000 kg CO2e (65 W at 70 %, PUE 1.2, 20 g CO2e/kWh)"
    )


@given(
    st.floats(0, 1e7),
    st.integers(1, 512),
    st.integers(0, 10**12),
    st.dictionaries(
        st.text(),
        st.builds(
            StageUse,
            seconds=st.floats(0, 1e7),
            tokens=st.integers(0, 10**12),
            peak_memory_bytes=st.none() | st.integers(0, 10**12),
        ),
    ),
)
def test_a_record_survives_json_and_fits_a_line(
    seconds: float, devices: int, tokens: int, stages: dict[str, StageUse]
) -> None:
    found = account(seconds, devices, tokens, stages)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Resources.model_validate(json.loads(text)) == found
    assert "estimated" in found.line() and "\n" not in found.line()


@pytest.mark.parametrize(
    ("field", "numbers"),
    [
        ("seconds", (-1.0, 1, 0)),
        ("seconds", (float("nan"), 1, 0)),
        ("devices", (1.0, 0, 0)),
        ("tokens", (1.0, 1, -1)),
    ],
)
def test_impossible_measurements_are_refused(field: str, numbers: tuple[float, int, int]) -> None:
    with pytest.raises(ValueError, match=field):
        account(*numbers, {})
