"""The architectures by name: each one's configuration, block, sites, norm and initial weights.

A new one is a file with these pieces and one line here; nothing else in the project names an architecture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from mambascope.errors import ModelError
from mambascope.models.config import (
    Mamba1Config,
    Mamba2Config,
    ModelConfig,
    TransformerConfig,
)
from mambascope.models.mamba1 import Mamba1Block, mamba1_sites
from mambascope.models.mamba1_steps import mamba1_steps
from mambascope.models.mamba2 import Mamba2Block, mamba2_sites
from mambascope.models.norms import RMSNorm
from mambascope.models.protocol import Steps
from mambascope.models.transformer import (
    TransformerBlock,
    transformer_norm,
    transformer_sites,
)
from mambascope.sites import Site


@dataclass(frozen=True)
class Architecture:
    """What a LanguageModel needs to know of an architecture."""

    config: type[ModelConfig]
    block: Callable[[Any], nn.Module]
    sites: Callable[[Any], list[Site]]
    final_norm: Callable[[Any], nn.Module]
    steps: Steps | None = None


def _rms(config: ModelConfig) -> nn.Module:
    return RMSNorm(config.d_model, config.norm_eps)


ARCHITECTURES: dict[str, Architecture] = {
    "mamba1": Architecture(Mamba1Config, Mamba1Block, mamba1_sites, _rms, mamba1_steps),
    "mamba2": Architecture(Mamba2Config, Mamba2Block, mamba2_sites, _rms),
    "transformer": Architecture(
        TransformerConfig, TransformerBlock, transformer_sites, transformer_norm
    ),
}


def architecture_of(config: ModelConfig) -> Architecture:
    """The architecture that a configuration belongs to."""
    if config.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f"unknown architecture {config.architecture!r}; there are: {known}")
    return ARCHITECTURES[config.architecture]
