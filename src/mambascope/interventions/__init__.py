"""Running counterfactual variants of a base run, and reading metrics from each."""

from mambascope.interventions.metrics import (
    Metric,
    answer_log_probability,
    answer_probability,
    answer_rank,
    kl_from,
    logit_difference,
    top1_hit,
)
from mambascope.interventions.replay import Replayed, replay
from mambascope.interventions.variants import BaseRun, Variant

__all__ = [
    "BaseRun",
    "Metric",
    "Replayed",
    "Variant",
    "answer_log_probability",
    "answer_probability",
    "answer_rank",
    "kl_from",
    "logit_difference",
    "replay",
    "top1_hit",
]
