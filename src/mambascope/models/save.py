"""Saving a model in the transformers layout, whole or not at all."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from mambascope.errors import OutputError
from mambascope.models.checkpoints.catalogue import saved_form
from mambascope.models.checkpoints.folder import SAFETENSORS, has_weights
from mambascope.models.checkpoints.format import DiskFormat, steps
from mambascope.models.language_model import LanguageModel

# What belongs to the model that is replaced, and goes with it.
OF_A_MODEL = (
    "config.json",
    "generation_config.json",
    "model*.safetensors*",
    "pytorch_model*.bin*",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab.json",
    "merges.txt",
)


def save_model(model: LanguageModel, folder: str | Path) -> None:
    """Write config.json, model.safetensors and the tokenizer; `transformers` loads the folder to the same logits.

    Everything is written beside the folder and moved into place at the end, so a broken save leaves nothing behind. A
    model that is there is replaced; other files in its folder stay.

    Raises ModelError for a model that this layout cannot express, OutputError for a folder that cannot be written or
    that holds other things than a model.
    """
    layout, disk = saved_form(model.config)
    target = Path(folder).expanduser().resolve()
    try:
        _check_free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
            written = Path(beside) / "new"
            written.mkdir()
            _write(model, layout, disk, written)
            _move(written, target, Path(beside) / "old")
    except OSError as error:
        raise OutputError(f"the model cannot be saved to {folder} ({error})") from error


def tensors_on_disk(model: LanguageModel, layout: DiskFormat) -> dict[str, Tensor]:
    """The model's weights under the names and in the shapes of this layout."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    return {
        step.disk: step.reshape.to_disk(
            [parameters[name] for name in step.ours], model.config
        ).contiguous()
        for step in steps(layout, parameters, model.config.n_layers)
    }


def _write(model: LanguageModel, layout: DiskFormat, disk: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    tokens = {"bos_token_id": None, "pad_token_id": None}
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(folder)
        tokens = {key: getattr(model.tokenizer, key) for key in tokens}
    dtype = str(model.dtype).removeprefix("torch.")
    config = {"architectures": [layout.model_class], "dtype": dtype, **tokens, **disk}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = folder / SAFETENSORS
    save_file(tensors_on_disk(model, layout), weights, metadata={"format": "pt"})
    # safetensors makes it readable for its owner alone, whatever the umask says.
    weights.chmod((folder / "config.json").stat().st_mode)


def _check_free(target: Path) -> None:
    """OutputError if saving there would destroy something that is no model."""
    if target.is_file():
        raise OutputError(f"{target} is a file; give a folder to save the model to")
    is_model = (target / "config.json").is_file() and has_weights(target)
    if target.is_dir() and any(target.iterdir()) and not is_model:
        raise OutputError(
            f"{target} holds files but no model, and is left alone; give a new or empty folder"
        )


def _move(written: Path, target: Path, old: Path) -> None:
    """Put the written folder in the target's place, together with what else lay there."""
    if not target.is_dir():
        written.rename(target)
        return
    for other in target.iterdir():
        if not any(other.match(pattern) for pattern in OF_A_MODEL):
            copy = shutil.copytree if other.is_dir() else shutil.copy2
            copy(other, written / other.name)
    try:
        target.rename(old)
        written.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
