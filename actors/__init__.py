"""Everything that lives on the cluster. Knows Ray; leaves the method to unisd_core."""

import os

# Ray reads both on import. A cluster that we start ourselves keeps to loopback: by default Ray
# listens on every interface. A cluster that we join (RAY_ADDRESS) is configured by whoever runs it.
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # More actors than cores is what we mean to have; Ray would warn about it.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "16")
    # Ray keeps the history of every call for a dashboard, of which a run makes thousands; there is
    # none here, and its memory would grow with each step.
    os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
# Engine, scorer and learner share the cores of a CPU machine: threads that wait must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
