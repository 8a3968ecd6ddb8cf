"""The options of effective attention."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

OF_PAIRS = ("contribution", "share", "frobenius")
BY_UNIT = ("channel", "head", None)


class AttentionConfig(BaseModel):
    """Which map from source tokens to target tokens, and what is kept of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[int, ...] | None = None
    """The layers, all by default."""
    span: Literal["scan", "mixer"] = "scan"
    """From the scan's input to its output (transformers: the pattern), or the full map of the mixer with convolution, skip
    and gate: from the normed residual to what the mixer adds."""
    reduce: Literal["mean_abs", "channel", "head", "contribution", "share", "frobenius"] | None = (
        "mean_abs"
    )
    """Of the scan: "mean_abs", the mean over units of the absolute map, or each unit's signed map: "channel" (Mamba-1), "head"
    (Mamba-2, transformers), None (whichever the architecture has). Of the mixer: "contribution", the norm of what the source
    gives the target; "share", how much of the target's output that is, signed; "frobenius", the norm of the map itself."""
    units: tuple[int, ...] | None = None
    """The channels or heads that are kept, all by default; of the scan only."""
    with_dt: bool = True
    """Whether the source's dt counts; without it the map is less than what the scan does, and closer to C B."""
    rollout: bool = False
    """Multiply the maps up to each layer (Abnar & Zuidema 2020): what reaches it from the tokens below the first layer."""

    @model_validator(mode="after")
    def _belongs_together(self) -> "AttentionConfig":
        full = self.span == "mixer"
        if full != (self.reduce in OF_PAIRS):
            raise ValueError(_misfit(self.span, self.reduce))
        if full and self.units is not None:
            raise ValueError("units are of span 'scan'; the mixer's full map goes through all")
        if full and not self.with_dt:
            raise ValueError(
                "span 'mixer' is what the mixer does, dt included; with_dt is of span 'scan'"
            )
        if self.rollout and self.reduce in BY_UNIT:
            raise ValueError(
                f"a rollout needs one map per layer, so reduce cannot be {self.reduce!r}"
            )
        for name, given in (("layers", self.layers), ("units", self.units)):
            if given is not None and (not given or len(set(given)) < len(given)):
                raise ValueError(f"{name} must name each one once, not {list(given)}")
        return self


def _misfit(span: str, reduce: str | None) -> str:
    if span == "mixer":
        return (
            f"span 'mixer' has a D x D map for each pair of tokens: reduce it by 'contribution', 'share' or 'frobenius', "
            f"not {reduce!r}"
        )
    return f"reduce {reduce!r} is of span 'mixer'; span 'scan' has 'mean_abs', 'channel', 'head' and None"
