"""The options of a causal trace."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TracingConfig(BaseModel):
    """One causal trace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str | tuple[str, ...] = "resid_post"
    """The site that is exchanged, or several, each in a grid of its own."""
    window: int | None = Field(default=None, ge=1)
    """Layers exchanged together; by default 1 for the residual, else a fifth of them (ROME: 10)."""
    align: Literal["centred", "left"] = "centred"
    """Whether the window is centred on the layer (ROME) or begins with it."""
    direction: Literal["restore", "corrupt"] = "restore"
    """Clean values into the corrupted run (is it enough?), or corrupted ones into the clean run (is it needed?)."""
    corruption: Literal["noise", "swap", "mean"] = "noise"
    """Noise on the subject's embeddings, another subject, or a mean embedding in place of the subject's."""
    swap: tuple[str, ...] = ()
    """For corruption "swap": the other subjects, each one row; the subjects' last tokens are aligned. Over many facts each
    fact has its own, and none are given here."""
    reference: str | None = None
    """For corruption "mean": a text whose mean embedding is taken, if not that of the subjects of a fact set."""
    sever: tuple[str, ...] = ()
    """What stays as in the run that is changed, at the same position in all layers: sites, or scan, conv, gate, mixer."""
    samples: int = Field(default=10, ge=1)
    """Noise samples that each cell is averaged over."""
    noise: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Standard deviation of the noise, in standard deviations of the subject's token embeddings."""
    seed: int = Field(default=0, ge=0)
    """Seed of the noise; the same noise serves every cell."""

    @model_validator(mode="after")
    def _belongs_together(self) -> "TracingConfig":
        if self.swap and self.corruption != "swap":
            raise ValueError("corruption 'swap' and the subjects to swap in (swap) go together")
        if self.reference is not None and self.corruption != "mean":
            raise ValueError("a reference text is for corruption 'mean'")
        if not self.sites:
            raise ValueError("at least one site is needed")
        return self

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites, also if there is one only."""
        return (self.site,) if isinstance(self.site, str) else self.site
