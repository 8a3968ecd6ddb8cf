"""What was done, in words, from a result's attributes: for figures, tables and titles alike."""

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

PLAIN = {"mode": "zero", "features": "all"}


def cut_in_words(attrs: Mapping[str, Any]) -> str:
    """What a knockout cut: "target last, route scan, windows of 9 layers, in atlas-mamba1"."""
    special = [f"{name} {attrs[name]}" for name, plain in PLAIN.items() if attrs[name] != plain]
    config = json.loads(attrs["config"]) if "config" in attrs else {}
    if config.get("mean_of"):
        special.append(f"mean of {config['mean_of']}")
    centred = "centred " if config.get("align") == "centred" else ""
    window = (
        "single layers" if attrs["window"] == 1 else f"{centred}windows of {attrs['window']} layers"
    )
    parts = [f"target {attrs['target']}", f"route {attrs['route']}", *special, window]
    return f"{', '.join(parts)}, in {model_in_words(attrs['model'])}"


def model_in_words(model: str) -> str:
    """The model's name; of one that was given by a path the last part: the folder's or the file's name."""
    hub_id = model.count("/") == 1 and not model.startswith(("/", ".", "~"))
    return model if hub_id else PurePath(model).name or model
