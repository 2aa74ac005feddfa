"""The pipelines from Python: a configuration and options in, results out.

    from pipelines.api import TrainOptions, train
    from unisd_core import Config

    summary = train(Config(task="minitools"), TrainOptions(resume=True))

Errors of the input are raised as ``UserError``; Ctrl-C and SIGTERM end a run as on the command
line.
"""

from __future__ import annotations

from pipelines.evaluate import EvaluateOptions, EvaluationResult, evaluate
from pipelines.synthesize import SynthesisResult, SynthesizeOptions, synthesize
from pipelines.unisd_full import TrainOptions, train
from unisd_core.reporting.summary import Summary

__all__ = [
    "EvaluateOptions",
    "EvaluationResult",
    "Summary",
    "SynthesisResult",
    "SynthesizeOptions",
    "TrainOptions",
    "evaluate",
    "synthesize",
    "train",
]
