"""Which on-disk formats there are, and which one a config.json or a model of ours belongs to."""

from typing import Any

from mambascope.errors import CheckpointError, ModelError
from mambascope.models.checkpoints.format import DiskConfig, DiskFormat
from mambascope.models.checkpoints.state_spaces import STATE_SPACES, layer_kind
from mambascope.models.checkpoints.transformers_gpt2 import GPT2
from mambascope.models.checkpoints.transformers_gpt_neox import GPT_NEOX
from mambascope.models.checkpoints.transformers_llama import LLAMA, MISTRAL, QWEN2
from mambascope.models.checkpoints.transformers_mamba import FALCON_MAMBA, MAMBA
from mambascope.models.checkpoints.transformers_mamba2 import MAMBA2
from mambascope.models.config import ModelConfig

TRANSFORMERS: dict[str, DiskFormat] = {
    layout.name: layout
    for layout in (MAMBA, FALCON_MAMBA, MAMBA2, GPT2, GPT_NEOX, LLAMA, MISTRAL, QWEN2)
}

# The layouts in which a model of each architecture is saved: the first that can express it.
SAVED_AS: dict[str, tuple[DiskFormat, ...]] = {
    "mamba1": (MAMBA, FALCON_MAMBA),
    "mamba2": (MAMBA2,),
    "transformer": (GPT2, GPT_NEOX, LLAMA, QWEN2),
}


def format_of(disk: DiskConfig) -> DiskFormat:
    """The format that a config.json announces; CheckpointError for a model that we have not."""
    if "model_type" in disk:
        return _transformers_format(disk["model_type"])
    if "d_model" not in disk or "n_layer" not in disk:
        raise CheckpointError(
            "config.json describes no model: it has neither model_type (the transformers layout) nor "
            "d_model and n_layer (the state-spaces layout)"
        )
    kind = layer_kind(disk)
    if kind not in STATE_SPACES:
        raise CheckpointError(
            f"config.json asks for layers of kind {kind!r}; known are: {', '.join(STATE_SPACES)}"
        )
    return STATE_SPACES[kind]


def saved_form(config: ModelConfig) -> tuple[DiskFormat, dict[str, Any]]:
    """The transformers layout that can express this model, and its config.json; ModelError says why none can."""
    reasons = []
    for layout in SAVED_AS[config.architecture]:
        try:
            return layout, layout.config_to_disk(config)
        except ModelError as error:
            reasons.append(str(error))
    raise ModelError(f"this model cannot be saved for transformers: {'; '.join(reasons)}")


def _transformers_format(model_type: Any) -> DiskFormat:
    if model_type not in TRANSFORMERS:
        raise CheckpointError(
            f"config.json describes a {model_type!r} model; those that can be loaded are: "
            f"{', '.join(TRANSFORMERS)}"
        )
    return TRANSFORMERS[model_type]
