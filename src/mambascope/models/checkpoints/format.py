"""What an on-disk format is: the names of its tensors and the words of its config.json, both ways.

A format's file holds a literal `RENAMES` (name on disk -> our name, or our names where one tensor on disk is several of
ours), a `RESHAPES` table for tensors that need more than a new name, and two functions between config.json and ours.
`{layer}` stands for each layer's number. Reading and writing are the same tables, read in opposite directions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mambascope.errors import ModelError
from mambascope.models.config import ModelConfig

DiskConfig = Mapping[str, Any]


@dataclass(frozen=True)
class Reshape:
    """One tensor on disk as ours and back; the two are inverse to each other.

    to_ours: (tensor, config) -> our tensors in the order of the rename's names
    to_disk: (our tensors, config) -> the tensor on disk; works on meta tensors, which is how its shape is known
    """

    to_ours: Callable[[Tensor, Any], Sequence[Tensor]]
    to_disk: Callable[[Sequence[Tensor], Any], Tensor]


SAME = Reshape(lambda tensor, _: (tensor,), lambda tensors, _: tensors[0])

# A depthwise convolution on disk is (channels, 1, taps); ours is (channels, taps).
CONV_TAPS = Reshape(
    lambda tensor, _: (tensor.squeeze(1),), lambda tensors, _: tensors[0].unsqueeze(1)
)


@dataclass(frozen=True)
class DiskFormat:
    """One way in which a model of one kind lies on disk.

    name:      what errors call it
    prefix:    what a file saved without its language-model head leaves out of every name
    head:      the unembedding's name, which a tied model may repeat on disk
    aliases:   older names of tensors; harmless: tensors that carry nothing (masks, rotary tables)
    """

    name: str
    model_class: str
    prefix: str
    head: str
    renames: Mapping[str, str | tuple[str, ...]]
    config_from_disk: Callable[[DiskConfig], ModelConfig]
    config_to_disk: Callable[[Any], dict[str, Any]]
    reshapes: Mapping[str, Reshape] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One tensor on disk, the parameters of ours that it holds, and how."""

    disk: str
    ours: tuple[str, ...]
    reshape: Reshape


def steps(layout: DiskFormat, parameters: Mapping[str, Tensor], n_layers: int) -> list[Step]:
    """Every tensor that a model with these parameters has on disk, in the order of the table."""
    found = []
    for disk, ours in layout.renames.items():
        names = (ours,) if isinstance(ours, str) else ours
        reshape = layout.reshapes.get(disk, SAME)
        for layer in range(n_layers) if "{layer}" in disk else (0,):
            here = tuple(name.replace("{layer}", str(layer)) for name in names)
            if here[0] in parameters:
                found.append(Step(disk.replace("{layer}", str(layer)), here, reshape))
    covered = {name for step in found for name in step.ours}
    assert covered == set(parameters), f"{layout.name} leaves out {set(parameters) - covered}"
    return found


def runs_only(disk: DiskConfig, **options: Any) -> None:
    """ModelError naming the first option of a config.json whose value no architecture here has."""
    for option, known in options.items():
        if disk[option] != known:
            raise ModelError(
                f"config.json says {option} = {disk[option]!r}, and only {known!r} can be run"
            )


def writes_only(layout: str, config: ModelConfig, **options: Any) -> None:
    """ModelError naming the first field of ours that this layout cannot express."""
    for option, known in options.items():
        value = getattr(config, option)
        if value != known:
            raise ModelError(
                f"the {layout} layout cannot say {option} = {value!r}; it is always {known!r}"
            )


def whole_multiple(layout: str, config: Any) -> int:
    """d_inner / d_model, which Mamba's layouts write as `expand`."""
    if config.d_inner % config.d_model:
        raise ModelError(
            f"the {layout} layout needs a d_inner that is a multiple of d_model, but they are "
            f"{config.d_inner} and {config.d_model}"
        )
    return config.d_inner // config.d_model
