"""What the config.json files of all of transformers' models say in the same words, both ways."""

from typing import Any

from mambascope.errors import ModelError
from mambascope.models.checkpoints.format import DiskConfig
from mambascope.models.config import Llama3Rope, ModelConfig, TransformerConfig

# transformers' names of activations -> ours; several of theirs compute the same function.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
ACTIVATIONS_TO_DISK = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}


def eos_ids(disk: DiskConfig) -> tuple[int, ...]:
    """The end-of-text tokens: transformers writes none, one, or several."""
    found = disk["eos_token_id"]
    if found is None:
        return ()
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def eos_token_id(config: ModelConfig) -> int | list[int] | None:
    """The inverse of `eos_ids`."""
    if len(config.eos_ids) > 1:
        return list(config.eos_ids)
    return config.eos_ids[0] if config.eos_ids else None


def activation(name: str) -> Any:
    """Our name of an activation; ModelError for one that we have not."""
    if name not in ACTIVATIONS:
        raise ModelError(
            f"config.json asks for the activation {name!r}; known are: {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def rotary(disk: DiskConfig, rotary_dim: int, base: str = "rope_theta") -> dict[str, Any]:
    """Our fields on rotary positions; before transformers 5 the `base` was a key outside `rope_parameters`."""
    rope = disk.get("rope_scaling") or disk.get("rope_parameters") or {}
    return {
        "positions": "rotary",
        "max_positions": disk["max_position_embeddings"],
        "rotary_dim": rotary_dim,
        "rope_theta": rope.get("rope_theta", disk.get(base, 10000.0)),
        "rope_scaling": _scaling(rope),
    }


def rope_parameters(config: TransformerConfig) -> dict[str, Any]:
    """The inverse of `rotary`, in the words of transformers 5."""
    words: dict[str, Any] = {"rope_theta": config.rope_theta}
    if config.rope_scaling is None:
        return words | {"rope_type": "default"}
    s = config.rope_scaling
    return words | {
        "rope_type": "llama3",
        "factor": s.factor,
        "low_freq_factor": s.low_freq_factor,
        "high_freq_factor": s.high_freq_factor,
        "original_max_position_embeddings": s.original_max_positions,
    }


def _scaling(rope: DiskConfig) -> Llama3Rope | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise ModelError(
            f"config.json asks for rotary positions of type {kind!r}; known are: default, llama3"
        )
    return Llama3Rope(
        factor=rope["factor"],
        low_freq_factor=rope["low_freq_factor"],
        high_freq_factor=rope["high_freq_factor"],
        original_max_positions=rope["original_max_position_embeddings"],
    )
