"""The options of a knockout."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class KnockoutConfig(BaseModel):
    """One knockout. Roles and positions are explained in roles.py, features in features.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str | tuple[str, ...] = "subject"
    """What is no longer read: a role (first, last, subject, subject_first, subject_last, relation, relation_minus_last, context,
    after, all), random:ROLE, positions such as 3,4, or several of these one by one; or each: every position one by one."""
    target: str = "last"
    """What no longer reads it: a role, or positions such as 3,4 or -1."""
    window: int = Field(default=9, ge=1)
    """Layers that are cut together."""
    align: Literal["left", "centred"] = "left"
    """Whether a window begins with its layer and fits in whole (Mamba Knockout) or is centred on it and cut off at the ends."""
    route: Literal["scan", "conv", "both", "attention"] | None = None
    """By which way the source is no longer read; by default the scan of a Mamba, the attention of a transformer."""
    mode: Literal["zero", "no_decay", "mean", "mask"] = "zero"
    """What is in the source's place: nothing (zero), nothing and no decay (no_decay), a mean over a reference text (mean); for
    attention nothing (zero), or the others' weights grow (mask)."""
    mean_of: Literal["write", "conv_in"] | None = None
    """For mode mean: what the mean is taken of; by default a token's write into the state for the scan, else its input to the
    convolution (Sharma et al. 2024)."""
    reference: str | None = None
    """For mode mean: the text that it is a mean over; by default a piece of the bundled encyclopedia."""
    features: str = "all"
    """The channels or heads that are cut: all, slow, fast, slow_measured, fast_measured, numbers such as 3,4, or
    "not " and one of these."""
    seed: int = Field(default=0, ge=0)
    """Seed of the positions of random:ROLE."""

    @model_validator(mode="after")
    def _belongs_together(self) -> "KnockoutConfig":
        if not self.sources:
            raise ValueError("at least one source is needed")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("a source is named twice; name each once")
        if "each" in self.sources and len(self.sources) > 1:
            raise ValueError("source 'each' takes the positions one by one, so it stands alone")
        if self.mode != "mean" and (self.reference is not None or self.mean_of is not None):
            raise ValueError("a reference text and mean_of are for mode 'mean'")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources, also if there is one only."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def by_position(self) -> bool:
        """Whether the positions are cut one by one."""
        return self.sources == ("each",)
