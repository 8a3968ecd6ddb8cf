"""configs/: one file per released checkpoint, in our own words."""

from pathlib import Path

import pytest
import torch
import yaml

from mambascope.models.architectures import ARCHITECTURES
from mambascope.models.language_model import LanguageModel

FOLDER = Path(__file__).parents[3] / "configs"
# The sizes in their authors' names of them.
PUBLISHED = {
    "mamba-130m": 130e6,
    "mamba-370m": 370e6,
    "mamba-790m": 790e6,
    "mamba-1.4b": 1.4e9,
    "mamba-2.8b": 2.8e9,
    "mamba2-130m": 130e6,
    "mamba2-370m": 370e6,
    "mamba2-780m": 780e6,
    "mamba2-1.3b": 1.3e9,
    "mamba2-2.7b": 2.7e9,
}


def test_every_released_checkpoint_has_its_file():
    assert {path.stem for path in FOLDER.glob("mamba*.yaml")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_released_checkpoint_has_its_published_size(name):
    released = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    words = released["config"]
    config = ARCHITECTURES[words["architecture"]].config(**words)
    with torch.device("meta"):
        model = LanguageModel(config)
    count = sum(p.numel() for p in model.parameters())
    assert count == released["parameters"]
    assert count == pytest.approx(PUBLISHED[name], rel=0.04)
    assert released["name"] == name
    assert f"state-spaces/{name}" in released["hub_ids"]
    assert released["licence"] == "Apache-2.0"
    multiple = 8 if config.architecture == "mamba1" else 16
    assert 0 <= config.vocab_size - 50277 < multiple
    assert config.vocab_size % multiple == 0
