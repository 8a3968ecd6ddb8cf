"""A model's folder: its config.json, and which files hold its weights."""

import json
from pathlib import Path
from typing import Any

from mambascope.errors import CheckpointError, ModelError
from mambascope.models.checkpoints.tensors import BinSource, SafetensorsSource, TensorSource

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"
INDEX = ".index.json"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; CheckpointError if it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is no valid JSON ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(found).__name__}")
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json; ModelError for a folder that is no model."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} is no model: it has no config.json ({_contents(folder)})")
    return read_json(path)


def has_weights(folder: Path) -> bool:
    """Whether the folder has weights in one of the layouts that `open_weights` reads."""
    names = (SAFETENSORS, SAFETENSORS + INDEX, BIN, BIN + INDEX)
    return any((folder / name).is_file() for name in names)


def open_weights(folder: Path) -> TensorSource:
    """The folder's tensors: safetensors before .bin, a single file before shards, as transformers chooses."""
    if (folder / SAFETENSORS).is_file():
        return SafetensorsSource([folder / SAFETENSORS])
    if (folder / (SAFETENSORS + INDEX)).is_file():
        return SafetensorsSource(_shards(folder / (SAFETENSORS + INDEX)))
    if (folder / BIN).is_file():
        return BinSource([folder / BIN])
    if (folder / (BIN + INDEX)).is_file():
        return BinSource(_shards(folder / (BIN + INDEX)))
    raise CheckpointError(
        f"{folder} has a config.json but no weights: expected {SAFETENSORS} or {BIN}, single or in "
        f"shards ({_contents(folder)})"
    )


def gguf_in(folder: Path) -> Path | None:
    """The folder's GGUF file, if that is what the folder holds; ModelError if there are several to choose from."""
    found = sorted(folder.glob("*.gguf"))
    if not found or has_weights(folder):
        return None
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ModelError(f"{folder} holds several GGUF files ({names}); give the path of one")
    return found[0]


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map that says which file holds which tensor")
    paths = [index.parent / str(name) for name in dict.fromkeys(weight_map.values())]
    outside = [path for path in paths if path.parent != index.parent]
    if outside:
        raise CheckpointError(f"{index} points outside its folder, to {outside[0]}")
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise CheckpointError(
            f"{index.parent} lacks {len(missing)} of {len(paths)} weight files, first {missing[0]}; "
            "copy or download it again"
        )
    return paths


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "it is empty"
    shown = ", ".join(names[:5])
    return f"it has: {shown}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
