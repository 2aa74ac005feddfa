"""Cost of a run: time, tokens and memory as measured, energy and carbon as estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from unisd_core.config.base import FrozenModel
from unisd_core.reporting.energy import PowerModel


class _Finite(FrozenModel):
    model_config = ConfigDict(allow_inf_nan=False)


class StageUse(_Finite):
    """One stage of a run."""

    seconds: float = Field(ge=0)
    """Busy time; stages overlap."""
    tokens: int = Field(ge=0)
    peak_memory_bytes: int | None = Field(None, ge=0)
    """Of its largest process, see ``peak_memory``; None where it was not read."""


class Resources(_Finite):
    """A run as a whole and by stage. ``estimated_*`` follow from time, devices and ``power``."""

    seconds: float = Field(ge=0)
    """Wall time."""
    devices: int = Field(ge=1)
    """GPUs reserved all that time; 1 for a run on CPU, all its cores together."""
    tokens: int = Field(ge=0)
    """Student prompts and completions trained on; what other views read does not count (paper)."""
    stages: dict[str, StageUse]
    power: PowerModel
    million_tokens_per_device_hour: float | None
    """None for a run without time."""
    peak_memory_bytes: int | None
    """Of the largest process of any stage."""
    estimated_kwh: float
    estimated_kwh_per_million_tokens: float | None
    """None for a run without tokens."""
    estimated_kg_co2e: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which ``Resources.model_validate`` makes the record again."""
        return self.model_dump(mode="json")

    def line(self) -> str:
        """The run on one line; says what is an estimate, and from which assumptions."""
        rate, memory = self.million_tokens_per_device_hour, self.peak_memory_bytes
        parts = [
            f"{self.seconds / 60:,.1f} min on {self.devices} device{'s' * (self.devices > 1)}",
            f"{self.tokens / 1e6:,.2f} M tokens",
        ]
        if rate is not None:
            parts[-1] += f" ({rate:,.2f} M per device-hour)"
        if memory is not None:
            parts.append(f"peak memory {memory / 1e9:,.1f} GB")
        return (
            f"{', '.join(parts)}; estimated {self.estimated_kwh:,.3f} kWh, "
            f"{self.estimated_kg_co2e:,.3f} kg CO2e ({self.power.line()})"
        )


def account(
    seconds: float,
    devices: int,
    tokens: int,
    stages: Mapping[str, StageUse],
    power: PowerModel | None = None,
) -> Resources:
    """The record of a run, with what follows from its measurements; fields as in ``Resources``.

    ``power`` defaults to the paper's constants. Raises pydantic's ValidationError, a ValueError,
    for negative or non-finite numbers and no devices.
    """
    power = power or PowerModel()
    hours, millions, kwh = devices * seconds / 3600, tokens / 1e6, power.kwh(seconds, devices)
    peaks = [use.peak_memory_bytes for use in stages.values()]
    return Resources(
        seconds=seconds,
        devices=devices,
        tokens=tokens,
        stages=dict(stages),
        power=power,
        million_tokens_per_device_hour=_ratio(millions, hours),
        peak_memory_bytes=max((peak for peak in peaks if peak is not None), default=None),
        estimated_kwh=kwh,
        estimated_kwh_per_million_tokens=_ratio(kwh, millions),
        estimated_kg_co2e=power.kg_co2e(kwh),
    )


def _ratio(part: float, whole: float) -> float | None:
    """None where there is nothing to divide by, or next to nothing."""
    ratio = part / whole if whole else math.inf
    return ratio if math.isfinite(ratio) else None
