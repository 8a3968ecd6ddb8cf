"""Running counterfactual variants of a base run, and reading a metric from each."""

from mambascope.interventions.metrics import Metric, answer_probability
from mambascope.interventions.variants import BaseRun, Variant, run_variants

__all__ = ["BaseRun", "Metric", "Variant", "answer_probability", "run_variants"]
