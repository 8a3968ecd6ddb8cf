"""What a training run is made of. One YAML file in configs/ fills it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mambascope.data.mix import Phase
from mambascope.errors import ConfigError
from mambascope.models.config import Mamba1Config, Mamba2Config, TransformerConfig
from mambascope.options import wrong_option

AnyModelConfig = Annotated[
    Mamba1Config | Mamba2Config | TransformerConfig, Field(discriminator="architecture")
]


class TrainConfig(BaseModel):
    """One training run; `tokens_per_batch` counts the tokens of one optimiser step on one process, on average.

    float32_matmul_precision: torch's; "medium" lets processors with bfloat16 units multiply in bfloat16 (2 to 4 times
    faster), weights and everything else stay float32
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: AnyModelConfig
    curriculum: Annotated[tuple[Phase, ...], Field(min_length=1)]
    tokens_per_batch: int = Field(default=2048, ge=64)
    learning_rate: float = Field(default=3e-3, gt=0)
    min_learning_rate: float = Field(default=3e-5, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip: float = Field(default=1.0, gt=0)
    float32_matmul_precision: Literal["highest", "high", "medium"] = "medium"
    seed: int = 0
    evaluate_every: int = Field(default=500, ge=1)
    evaluate_items: int = Field(default=400, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    out: Path = Path("checkpoints")

    @property
    def steps(self) -> int:
        """The number of optimiser steps."""
        return sum(phase.steps for phase in self.curriculum)


def read_train_config(path: Path) -> TrainConfig:
    """The configuration in a YAML file; ConfigError says which field is wrong."""
    try:
        given: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path} must hold a mapping of options, not {type(given).__name__}")
    try:
        return TrainConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"{path}: {wrong_option(error)}") from error
