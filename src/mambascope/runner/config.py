"""What a sweep is made of: everything here decides its numbers, and a folder holds the results of one such configuration."""

from typing import Annotated, Any, ClassVar

import tyro
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mambascope.errors import ConfigError
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.methods.tracing.config import TracingConfig
from mambascope.results.ranks import read_ranks


class SweepConfig(BaseModel):
    """What the sweeps of all methods have. Executor and number of workers are not part of it: they change nothing but the time.

    method: its name in `runner.methods`
    """

    method: ClassVar[str]
    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: str
    """bundled, bundled:RELATION,..., bundled-unseen, a file of facts or a folder of such files."""
    model: str = "atlas-mamba1"
    """A bundled model, a folder, a GGUF file or a Hugging Face hub id (see `mambascope models`)."""
    tokenizer: str | None = None
    """In place of the model's own, for one that comes without: a folder, a tokenizer.json, a bundled model or a hub id."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many facts, taken in turn from each relation."""
    only_known: bool = False
    """Only the facts whose answer begins with the model's own top token; the rest is recorded as skipped."""
    rank: str | None = None
    """Only the facts whose answer's first token has such a rank for the model: <=3, <=5 or 2-5; 1 is --only-known."""
    also_known_by: tuple[str, ...] = ()
    """Other models for which the answer must have such a rank as well."""
    batch: int = Field(default=16, ge=1)
    """Facts of similar length that share a replay."""
    memory: int = Field(default=1024, ge=1)
    """MiB that one replay stays within; how it is split decides the rounding."""
    device: str = "cpu"
    """"cpu", "cuda" or "cuda:1"."""
    dtype: str = "float32"
    """"float32", "float64", "bfloat16" or "float16"."""

    @model_validator(mode="after")
    def _ranks_belong_together(self) -> "SweepConfig":
        if self.only_known and self.rank is not None:
            raise ValueError("only_known is rank 1; give one of the two")
        try:
            ranks = self.ranks
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if self.also_known_by and ranks is None:
            raise ValueError("which ranks also_known_by is about, only_known or rank says")
        return self

    @property
    def ranks(self) -> range | None:
        """The ranks that an answer may have; None for any."""
        if self.rank is None:
            return range(1, 2) if self.only_known else None
        return read_ranks(self.rank)


class TraceSweep(SweepConfig):
    """A causal trace of every fact."""

    method: ClassVar[str] = "trace"
    swaps: int = Field(default=10, ge=1)
    """For corruption "swap": how many other subjects of the relation are swapped in."""
    tracing: Annotated[TracingConfig, tyro.conf.arg(name="")] = TracingConfig()

    @model_validator(mode="after")
    def _belongs_together(self) -> "TraceSweep":
        if self.tracing.swap:
            raise ValueError(
                "a sweep swaps in other subjects of each fact's own relation (how many: swaps); leave swap out"
            )
        return self


class KnockoutSweep(SweepConfig):
    """A knockout of every fact."""

    method: ClassVar[str] = "knockout"
    knockout: Annotated[KnockoutConfig, tyro.conf.arg(name="")] = KnockoutConfig()


def flat(options: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested options under one dotted name each: {"tracing": {"seed": 0}} gives {"tracing.seed": 0}."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        label = f"{before}{name}"
        found |= flat(value, f"{label}.") if isinstance(value, dict) else {label: value}
    return found
