"""One tiny model and one file of facts for all tests of the runner."""

from pathlib import Path

import pytest

from tests.runner.small import save_facts, save_model


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The folder of a tiny model."""
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory) -> Path:
    """A file of 24 facts, and one that must fail."""
    return save_facts(tmp_path_factory.mktemp("facts") / "facts.jsonl")
