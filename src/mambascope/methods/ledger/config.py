"""The options of a route ledger."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

ROLES = ("before", "subject_first", "subject_middle", "subject_last", "after")
SETS = ("subject", "all")
NUMBERS = re.compile(r"\s*-?\d+\s*(,\s*-?\d+\s*)*")


class LedgerConfig(BaseModel):
    """One route ledger. A source is always what lies before the target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: tuple[str, ...] = ()
    """Each is a role (before, subject_first, subject_middle, subject_last, after), subject, all, or positions such as
    3,4; or random:SOURCE, as many random other positions. By default every role that the prompt has."""
    target: int = -1
    """The position whose mixers are looked at; negative ones count from the end."""
    measure: Literal["log_probability", "probability"] = "log_probability"
    """What is read of the answer: its log-probability in nats, or its probability."""
    confirm: int = Field(default=512, ge=1)
    """How many cells (layer, source) are replayed exactly: those whose screened terms are largest."""
    audit: int = Field(default=16, ge=0)
    """How many of the other cells, drawn at random, are replayed too, so that the screening is judged on small cells as well."""
    seed: int = Field(default=0, ge=0)
    """Seed of the cells drawn for the audit, and of the positions of random:SOURCE."""

    @field_validator("source")
    @classmethod
    def _known(cls, source: tuple[str, ...]) -> tuple[str, ...]:
        from mambascope.results.schema import CONTROL  # here, since results take xarray with them

        for name in source:
            plain = name.removeprefix(CONTROL)
            if plain not in (*ROLES, *SETS) and not NUMBERS.fullmatch(plain):
                known = ", ".join((*ROLES, *SETS))
                raise ValueError(
                    f"unknown source {name!r}; it is one of: {known}, {CONTROL}SOURCE, or positions such as 3,4"
                )
        if len(set(source)) < len(source):
            raise ValueError("a source is named twice; name each once")
        return source

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are asked about."""
        return self.source or ROLES
