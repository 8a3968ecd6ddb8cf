"""What a sweep is made of: everything here decides its numbers, and a folder holds the results of one such configuration."""

from typing import Annotated, Any, ClassVar, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mambascope.errors import ConfigError
from mambascope.methods.evaluation.config import EvaluationConfig
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.methods.tracing.config import TracingConfig
from mambascope.ranks import read_ranks


class SweepConfig(BaseModel):
    """What the sweeps of all methods have. Executor and number of workers are not part of it: they change nothing but the time.

    method: its name in `runner.methods`
    """

    method: ClassVar[str]
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "atlas-mamba1"
    """A bundled model, a folder, a GGUF file or a Hugging Face hub id (see `mambascope models`)."""
    tokenizer: str | None = None
    """In place of the model's own, for one that comes without: a folder, a tokenizer.json, a bundled model or a hub id."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many facts, taken in turn from each relation; or questions, from each category of each data set."""
    batch: int = Field(default=16, ge=1)
    """Facts or questions of similar length that are done together."""
    memory: int = Field(default=1024, ge=1)
    """MiB that one batch stays within; how it is split decides the rounding."""
    device: str = "cpu"
    """"cpu", "cuda" or "cuda:1"."""
    dtype: str = "float32"
    """"float32", "float64", "bfloat16" or "float16"."""

    @property
    def others(self) -> tuple[str, ...]:
        """Other models that are asked before anything is done."""
        return ()


class FactSweep(SweepConfig):
    """A sweep over facts, which may be chosen by what the model knows."""

    facts: str
    """bundled, bundled:RELATION,..., bundled-unseen, a file of facts or a folder of such files."""
    only_known: bool = False
    """Only the facts whose answer begins with the model's own top token; the rest is recorded as skipped."""
    rank: str | None = None
    """Only the facts whose answer's first token has such a rank for the model: <=3, <=5 or 2-5; 1 is --only-known."""
    also_known_by: tuple[str, ...] = ()
    """Other models for which the answer must have such a rank as well."""

    @model_validator(mode="after")
    def _ranks_belong_together(self) -> "FactSweep":
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

    @property
    def others(self) -> tuple[str, ...]:
        """See SweepConfig."""
        return self.also_known_by


class TraceSweep(FactSweep):
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


class KnockoutSweep(FactSweep):
    """A knockout of every fact."""

    method: ClassVar[str] = "knockout"
    knockout: Annotated[KnockoutConfig, tyro.conf.arg(name="")] = KnockoutConfig()


class LedgerSweep(FactSweep):
    """A route ledger of every fact."""

    method: ClassVar[str] = "ledger"
    ledger: Annotated[LedgerConfig, tyro.conf.arg(name="")] = LedgerConfig()


class EvaluationSweep(SweepConfig):
    """An evaluation on prompts with known answers, on questions of published data sets, or on both."""

    method: ClassVar[str] = "evaluate"
    prompts: Literal["custom", "dataset", "both"] = "custom"
    """The prompts that mambascope makes (or of a file of one's own), questions of data sets, or both."""
    questions: str | None = None
    """The questions of data sets: a file that `mambascope dataset build` wrote, or lines of JSON with question and answers."""
    prompts_file: str | None = None
    """What `mambascope prompts` wrote; by default 100 prompts of each level, of seed 0."""
    form: Literal["line", "lines"] = "line"
    """Passage, question and answer in one line, which the bundled models learnt; or in a line each, as most models know it."""
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = EvaluationConfig()

    @model_validator(mode="after")
    def _files_fit(self) -> "EvaluationSweep":
        if (self.questions is None) == (self.prompts != "custom"):
            raise ValueError("questions (a file) and prompts 'dataset' or 'both' go together")
        if self.prompts_file is not None and self.prompts == "dataset":
            raise ValueError("a prompts_file is for prompts 'custom' or 'both'")
        return self


def flat(options: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested options under one dotted name each: {"tracing": {"seed": 0}} gives {"tracing.seed": 0}."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        label = f"{before}{name}"
        found |= flat(value, f"{label}.") if isinstance(value, dict) else {label: value}
    return found
