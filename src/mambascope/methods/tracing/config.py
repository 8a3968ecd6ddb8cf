"""The options of a causal trace."""

from pydantic import BaseModel, ConfigDict, Field


class TracingConfig(BaseModel):
    """One causal trace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str = "resid_post"
    """The site that is restored."""
    window: int | None = Field(default=None, ge=1)
    """Layers restored together, centred on each; by default 1 for the residual, else a fifth of them (ROME: 10)."""
    samples: int = Field(default=10, ge=1)
    """Noise samples that each cell is averaged over."""
    noise: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Standard deviation of the noise, in standard deviations of the subject's token embeddings."""
    seed: int = Field(default=0, ge=0)
    """Seed of the noise; the same noise serves every cell."""
