"""Are these the tensors that the model needs, neither more nor fewer, of the right shapes?"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mambascope.errors import CheckpointError
from mambascope.models.checkpoints.format import DiskFormat, Step
from mambascope.models.checkpoints.tensors import TensorSpec
from mambascope.models.config import ModelConfig


def check_names(
    layout: DiskFormat, config: ModelConfig, plan: Sequence[Step], found: Mapping[str, TensorSpec]
) -> None:
    """CheckpointError for missing tensors, and for those that nobody asked for."""
    model = f"a {layout.name} model with {config.n_layers} layers, as config.json describes it,"
    expected = {step.disk for step in plan}
    missing = [step.disk for step in plan if step.disk not in found]
    if missing:
        raise CheckpointError(f"{model} needs tensors that are missing: {_few(missing)}")
    extra = [name for name in found if name not in expected]
    extra = [name for name in extra if not _tolerated(name, layout, config)]
    if extra:
        raise CheckpointError(f"{model} does not have these tensors that are there: {_few(extra)}")


def check_shapes(
    config: ModelConfig,
    plan: Sequence[Step],
    parameters: Mapping[str, Tensor],
    found: Mapping[str, TensorSpec],
) -> None:
    """CheckpointError for a tensor of another shape than config.json implies, or of whole numbers."""
    for step in plan:
        needed = step.reshape.to_disk([parameters[ours] for ours in step.ours], config).shape
        spec = found[step.disk]
        if spec.shape != tuple(needed):
            raise CheckpointError(
                f"{step.disk} has shape {spec.shape}, but config.json makes it {tuple(needed)}"
            )
        if not spec.is_float:
            raise CheckpointError(
                f"{step.disk} is not stored in floating point; load the unquantised checkpoint"
            )


def check_tied(head: Tensor, embedding: Tensor, layout: DiskFormat) -> None:
    """CheckpointError if a tied model comes with an unembedding of its own."""
    if not torch.equal(head, embedding):
        raise CheckpointError(
            f"config.json ties the unembedding to the embedding, but {layout.head} differs from it; "
            "if the model has its own, let config.json say that they are not tied"
        )


def _tolerated(name: str, layout: DiskFormat, config: ModelConfig) -> bool:
    if name == layout.head and config.tie_embeddings:
        return True
    patterns = [re.escape(known).replace(r"\{layer\}", r"\d+") for known in layout.harmless]
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
