"""The options of an evaluation."""

from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from mambascope.methods.evaluation.changes import Changes


class EvaluationConfig(BaseModel):
    """How questions are put to a model, and what is changed in it meanwhile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(default=16, ge=1)
    """At most this many tokens are decoded; less where the first line or sentence of an answer ends before."""
    changes: Annotated[Changes, tyro.conf.Suppress] = Changes()
    """Edits and cuts that the model is under; on the command line a file (--edits)."""
