"""Energy and carbon of a computation, estimated from its time; nothing is measured here."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from unisd_core.config.base import FrozenModel


class PowerModel(FrozenModel):
    """What a device-hour is taken to cost; the defaults are the paper's, for an A100 80GB PCIe.

    On other devices set ``device_watts``; the estimate is as good as that and ``utilisation``.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    device_watts: float = Field(300.0, gt=0)
    """Thermal design power of one device: a GPU, or the sockets where there is none."""
    utilisation: float = Field(0.7, gt=0, le=1)
    """Mean share of that power which is drawn."""
    pue: float = Field(1.2, ge=1)
    """Power usage effectiveness: energy of the building over energy of the machines."""
    grams_per_kwh: float = Field(475.0, ge=0)
    """Carbon intensity of the grid, in g CO2e."""

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
