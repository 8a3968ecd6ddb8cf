"""A LanguageModel from a config.json and a source of tensors, without a second copy of the weights.

The model is made on the meta device, which costs no memory; then each tensor is read, converted and put in its place.
Nothing is read before names and shapes are known to fit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from pydantic import ValidationError
from torch import Tensor

from mambascope.errors import CheckpointError, ModelError
from mambascope.models.checkpoints.catalogue import format_of
from mambascope.models.checkpoints.check import check_names, check_shapes, check_tied
from mambascope.models.checkpoints.format import DiskConfig, DiskFormat, Step, steps
from mambascope.models.checkpoints.tensors import TensorSource
from mambascope.models.config import ModelConfig
from mambascope.models.language_model import LanguageModel
from mambascope.options import wrong_option


@dataclass(frozen=True)
class Placement:
    """Where the weights go, and in which precision."""

    device: torch.device
    dtype: torch.dtype


def build_model(disk: DiskConfig, source: TensorSource, place: Placement) -> LanguageModel:
    """The model that these files describe, in eval mode, its weights not requiring gradients.

    Raises ModelError for a model that we have not, CheckpointError for tensors that do not fit its config.json.
    """
    layout, config = translate(disk)
    with torch.device("meta"):
        model = LanguageModel(config)
    parameters = dict(model.named_parameters())
    plan = steps(layout, parameters, config.n_layers)
    on_disk = _names_on_disk(layout, source.specs)
    found = {name: source.specs[actual] for name, actual in on_disk.items()}
    check_names(layout, config, plan, found)
    check_shapes(config, plan, parameters, found)
    tensors = _read(plan, on_disk, source, config, place)
    if layout.head in on_disk and config.tie_embeddings:
        head = source.take(on_disk[layout.head]).to(place.device, place.dtype)
        check_tied(head, tensors["embedding"], layout)
    model.load_state_dict(tensors, assign=True)
    assert not any(buffer.is_meta for buffer in model.buffers())
    return model.eval().requires_grad_(False)


def translate(disk: DiskConfig) -> tuple[DiskFormat, ModelConfig]:
    """The format of a config.json, and its configuration in our words."""
    # transformers unpacks a GGUF file's weights, and still calls them quantised.
    method = (disk.get("quantization_config") or {"quant_method": "gguf"}).get("quant_method")
    if method != "gguf":
        raise ModelError(f"the weights are quantised ({method}); load the unquantised checkpoint")
    layout = format_of(disk)
    try:
        return layout, layout.config_from_disk(disk)
    except ValidationError as error:
        reason = wrong_option(error)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise CheckpointError(f"config.json does not describe a {layout.name} model ({reason})")


def _names_on_disk(layout: DiskFormat, names: Iterable[str]) -> dict[str, str]:
    """The format's names of tensors -> the names that they have here (older ones, or without prefix)."""
    names = list(names)
    bare = not any(name.startswith(layout.prefix) for name in names)
    found = {}
    for name in names:
        known = layout.aliases.get(name, name)
        if bare and known != layout.head:
            known = layout.aliases.get(layout.prefix + name, layout.prefix + name)
        found[known] = name
    return found


def _read(
    plan: Sequence[Step],
    on_disk: dict[str, str],
    source: TensorSource,
    config: ModelConfig,
    place: Placement,
) -> dict[str, Tensor]:
    """Our parameters by name, read in the order in which they lie."""
    order = {name: number for number, name in enumerate(source.specs)}
    tensors: dict[str, Tensor] = {}
    for step in sorted(plan, key=lambda step: order[on_disk[step.disk]]):
        parts = step.reshape.to_ours(source.take(on_disk[step.disk]), config)
        for name, part in zip(step.ours, parts, strict=True):
            tensors[name] = part.to(place.device, place.dtype).contiguous()
    return tensors
