"""`load`: any usual checkpoint as a LanguageModel. The only place that decides what a source is."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mambascope.errors import ConfigError, ModelError
from mambascope.models.bundled import BUNDLED, bundled_folder
from mambascope.models.checkpoints.build import Placement, build_model
from mambascope.models.checkpoints.folder import gguf_in, open_weights, read_config
from mambascope.models.checkpoints.gguf import open_gguf
from mambascope.models.checkpoints.hub import download, download_tokenizer
from mambascope.models.checkpoints.tensors import MemorySource
from mambascope.models.checkpoints.tokenizer import (
    load_gguf_tokenizer,
    load_tokenizer,
    tokenizer_at,
)
from mambascope.models.language_model import LanguageModel

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def load(
    source: str | Path | nn.Module,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "float32",
    tokenizer: str | Path | None = None,
) -> LanguageModel:
    """A model in eval mode, its weights not requiring gradients.

    source: the first of these that it is:
        a transformers model object (its weights are copied, so that the two stay independent)
        a bundled model's name, such as "atlas-mamba1"
        a folder in the layout of transformers (safetensors or .bin, single or in shards) or of state-spaces
        a GGUF file, or a folder that holds one
        a Hugging Face hub id, such as "state-spaces/mamba-130m-hf"
    device: "cpu", "cuda" or "cuda:1"; dtype: "float32", "float64", "bfloat16" or "float16"
    tokenizer: in place of the one that comes with the model, if any: the first of these that it is: a bundled model's name, a
        folder (of a model or of a tokenizer alone), a tokenizer.json, a hub id, such as "EleutherAI/gpt-neox-20b"

    Raises ConfigError for a device or dtype that cannot be, ModelError for a model that cannot be found or run, and
    CheckpointError for files that do not hold what they should.
    """
    place = Placement(_device(device), _dtype(dtype))
    given = None if tokenizer is None else _named_tokenizer(tokenizer)
    if isinstance(source, nn.Module):
        model = _from_object(source, place)
        model.tokenizer = given
        return model
    if not isinstance(source, str | Path):
        raise ModelError(
            f"a model is given by its name, a path or a transformers model, not by a {type(source).__name__}"
        )
    path = _find(source, download)
    try:
        read = _from_folder if path.is_dir() else _from_file
        model = read(path, place, given)
    except ModelError as error:
        raise type(error)(_named(str(source), error)) from error
    model.name = str(source)
    return model


def _named_tokenizer(source: str | Path) -> Any:
    if not isinstance(source, str | Path):
        raise ConfigError(
            f"a tokenizer is given by its name or a path, not by a {type(source).__name__}; put an object into `model.tokenizer`"
        )
    try:
        return tokenizer_at(_find(source, download_tokenizer))
    except ModelError as error:
        raise type(error)(f"the tokenizer: {error}") from error


def _find(source: str | Path, fetch: Callable[[str], Path]) -> Path:
    """Where a model's files are; `fetch` downloads what is wanted of a hub model."""
    text = str(source)
    if isinstance(source, str) and text in BUNDLED:
        return bundled_folder(text)
    path = Path(source)
    try:
        path = path.expanduser()
        found = bool(text) and path.exists()
    except (OSError, RuntimeError):  # a name that is too long, the home of nobody
        found = False
    if found:
        return path
    if isinstance(source, Path) or not HUB_ID.fullmatch(text) or path.suffix == ".gguf":
        raise ModelError(f"there is no file or folder {text!r}")
    try:
        return fetch(text)
    except ModelError as error:
        if "/" in text:
            raise
        raise ModelError(
            f"{text!r} is no bundled model ({', '.join(BUNDLED)}) and no folder here; and {error}"
        ) from error


def _from_folder(folder: Path, place: Placement, tokenizer: Any) -> LanguageModel:
    """The model in a folder, with this tokenizer, or its own if it is None."""
    gguf = gguf_in(folder)
    if gguf is not None:
        return _from_file(gguf, place, tokenizer)
    disk = read_config(folder)
    model = build_model(disk, open_weights(folder), place)
    if tokenizer is None:
        tokenizer = load_tokenizer(folder, disk.get("model_type"))
    model.tokenizer = tokenizer
    return model


def _from_file(path: Path, place: Placement, tokenizer: Any) -> LanguageModel:
    if path.suffix != ".gguf":
        raise ModelError("it is a file; give the folder that holds it, or a .gguf file")
    found = open_gguf(path, place.dtype)
    disk, weights = found.config.to_dict(), found.state_dict()
    del found
    model = build_model(disk, MemorySource(weights, keep=False), place)
    model.tokenizer = load_gguf_tokenizer(path) if tokenizer is None else tokenizer
    return model


def _from_object(source: Any, place: Placement) -> LanguageModel:
    kind = type(source).__name__
    config = getattr(source, "config", None)
    if config is None or not hasattr(config, "to_dict"):
        raise ModelError(f"a {kind} is no transformers model, and cannot be loaded")
    try:
        model = build_model(config.to_dict(), MemorySource(source.state_dict(), keep=True), place)
    except ModelError as error:
        raise type(error)(_named(kind, error)) from error
    model.name = getattr(config, "_name_or_path", "") or kind
    return model


def _named(source: str, error: ModelError) -> str:
    """The error with the source in front, unless it names it already."""
    return str(error) if source in str(error) else f"{source}: {error}"


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"device must be 'cpu', 'cuda' or 'cuda:1' and so on, not {str(device)!r}"
        )
    count = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= count:
        raise ConfigError(
            f"device {str(device)!r} is not there: this machine has {count} CUDA devices that torch can use"
        )
    return found


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, not {name!r}")
    return DTYPES[name]
