"""Reporting: a run's folder, metrics, summary and pages."""
