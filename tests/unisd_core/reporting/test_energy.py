from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from unisd_core.reporting.energy import PowerModel

# Table 3 of the paper: M tokens per GPU-hour and kWh per 1 M tokens.
TABLE_3 = [
    (2.60, 0.10), (2.56, 0.10), (2.32, 0.11), (3.22, 0.08), (2.74, 0.09), (1.58, 0.16),
    (1.50, 0.17), (1.66, 0.16), (1.48, 0.17), (1.47, 0.17), (1.43, 0.18), (0.96, 0.26),
]  # fmt: skip


@pytest.mark.parametrize(("million_per_hour", "kwh"), TABLE_3)
def test_the_defaults_give_the_papers_energy_per_token(million_per_hour: float, kwh: float) -> None:
    assert PowerModel().kwh(3600, 1) / million_per_hour == pytest.approx(kwh, abs=0.01)


def test_a_device_hour_by_hand() -> None:
    power = PowerModel()
    assert power.kwh(3600, 1) == pytest.approx(0.252)
    assert power.kg_co2e(power.kwh(3600, 1)) == pytest.approx(0.1197)
    other = PowerModel(device_watts=700, utilisation=0.5, pue=1.0, grams_per_kwh=100)
    assert other.kwh(7200, 3) == pytest.approx(2.1)
    assert other.kg_co2e(2.1) == pytest.approx(0.21)


def test_cores_count_as_one_device() -> None:
    two = PowerModel.of_cores(2)
    assert two.device_watts == 24
    assert two.kwh(3600, 1) == pytest.approx(0.024 * 0.7 * 1.2)
    assert two.line().startswith("24 W at 70 %")
    assert PowerModel.of_cores(64).kwh(3600, 1) == pytest.approx(32 * two.kwh(3600, 1))


@given(st.floats(0, 1e7), st.integers(1, 1000))
def test_devices_count_as_much_as_time(seconds: float, devices: int) -> None:
    power = PowerModel()
    assert power.kwh(seconds, devices) == pytest.approx(power.kwh(seconds * devices, 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_watts": 0},
        {"utilisation": 1.1},
        {"pue": 0.9},
        {"grams_per_kwh": -1},
        {"device_watts": float("inf")},
        {"watts": 300},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        PowerModel(**wrong)
