"""The models that come with the package, each in a folder of its name in the transformers layout.

A folder holds config.json, model.safetensors, the tokenizer's files, README.md (the model card) and figures.json.
"""

from pathlib import Path

from mambascope.errors import ModelError

BUNDLED: dict[str, str] = {
    "atlas-mamba1": "Mamba-1 trained on real facts about the world",
    "atlas-mamba2": "Mamba-2 trained on the same facts in the same order",
    "atlas-transformer": "a transformer trained on the same facts in the same order",
}


def bundled_folder(name: str) -> Path:
    """The folder of a bundled model; ModelError if this installation lacks it."""
    folder = Path(__file__).parent / name
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"the bundled model {name!r} is not in this installation ({folder} holds no config.json); "
            "install mambascope again, or train it with configs/"
            f"{name}.yaml"
        )
    return folder
