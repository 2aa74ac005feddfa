"""Runtime: Ray session, remote calls, reserved resources, placement and metrics."""
