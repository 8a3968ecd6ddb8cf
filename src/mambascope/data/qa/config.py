"""The options of a table of questions."""

from pydantic import BaseModel, ConfigDict, Field


class BuildConfig(BaseModel):
    """Which questions of the sources are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_dataset: int | None = Field(default=None, ge=1)
    """At most so many of each data set, in turn from its categories; by default all."""
    per_category: int | None = Field(default=None, ge=1)
    """At most so many of each category, in turn from the data sets; by default all."""
    seed: int = 0
    """Which ones: the same seed and sources give the same questions."""
