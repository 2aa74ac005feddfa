"""Incidents of a run: on the screen while it goes on, and in a file of its folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from ray.exceptions import RayError

from actors.supervision.watchdog import WatchdogClient
from pipelines.command.console import report
from pipelines.command.follower import Follower

FILE = "incidents.jsonl"


class IncidentFollower(Follower):
    """Prints each incident that the watchdog collects and appends it to ``incidents.jsonl``."""

    interval_s = 2.0

    def __init__(self, watchdog: WatchdogClient, folder: Path) -> None:
        super().__init__()
        self.watchdog, self.path = watchdog, folder / FILE

    def look(self, at_end: bool) -> None:
        """Take over what is new."""
        try:
            incidents = self.watchdog.drain()
        except (RayError, TimeoutError):
            if at_end:
                return  # the cluster may be what was lost
            raise
        for incident in incidents:
            report(f"{incident.who}: {incident.what}")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dataclasses.asdict(incident)) + "\n")
