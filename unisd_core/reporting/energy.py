"""Energy and carbon of a computation, estimated from its time; nothing is measured here."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from unisd_core.config.base import FrozenModel

WATTS_PER_CORE = 12.0
"""Thermal design power of one CPU core: what the Green Algorithms calculator takes where the CPU is
not known (Lannelongue et al., Advanced Science 2021, 2100707). Its table has 4 to 10 W for cores of
large servers and 8 to 24 W for those of desktops."""


class PowerModel(FrozenModel):
    """What a device-hour is taken to cost; the defaults are the paper's, for an A100 80GB PCIe.

    On other devices set ``device_watts``; the estimate is as good as that and ``utilisation``.
    Memory, disks and network are left out; so is the host of a GPU.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    device_watts: float = Field(300.0, gt=0)
    """Thermal design power of one device: a GPU, or all cores of a run on CPU."""
    utilisation: float = Field(0.7, gt=0, le=1)
    """Mean share of that power which is drawn."""
    pue: float = Field(1.2, ge=1)
    """Power usage effectiveness: energy of the building over energy of the machines."""
    grams_per_kwh: float = Field(475.0, ge=0)
    """Carbon intensity of the grid, in g CO2e."""

    @classmethod
    def of_cores(cls, cores: int) -> PowerModel:
        """For a run on CPU, whose ``cores`` count as one device: all of them are taken to be the
        run's, and as busy as the paper's GPUs."""
        return cls(device_watts=cores * WATTS_PER_CORE)

    def kwh(self, seconds: float, devices: int) -> float:
        """Estimated energy of ``devices`` reserved for ``seconds``."""
        return seconds / 3600 * devices * self.device_watts / 1000 * self.utilisation * self.pue

    def kg_co2e(self, kwh: float) -> float:
        """Estimated emissions of that energy."""
        return kwh * self.grams_per_kwh / 1000

    def line(self) -> str:
        """The assumptions, to be shown beside every estimate."""
        return (
            f"{self.device_watts:g} W at {100 * self.utilisation:g} %, PUE {self.pue:g}, "
            f"{self.grams_per_kwh:g} g CO2e/kWh"
        )
