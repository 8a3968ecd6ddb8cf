"""One tiny model and one file of facts for all tests of the runner."""

from pathlib import Path

import pytest

from mambascope.runner.worker import Worker
from tests.runner.small import FEW, MANY, command, finish, save_facts, save_model


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The folder of a tiny model."""
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory) -> Path:
    """A file of 24 facts, and one that must fail."""
    return save_facts(tmp_path_factory.mktemp("facts") / "facts.jsonl")


@pytest.fixture
def units(monkeypatch) -> list[tuple[str, int]]:
    """(stage, number) of every unit that a worker in this process does from now on."""
    done: list[tuple[str, int]] = []
    run = Worker.run

    def counted(self, unit):
        done.append((unit.stage, unit.number))
        return run(self, unit)

    monkeypatch.setattr(Worker, "run", counted)
    return done


@pytest.fixture(scope="session")
def many(tmp_path_factory) -> Path:
    """A file of so many facts that a sweep over them can be killed or interrupted often."""
    return save_facts(tmp_path_factory.mktemp("many") / "facts.jsonl", MANY)


@pytest.fixture(scope="session")
def uninterrupted(model: Path, many: Path, tmp_path_factory) -> Path:
    """The sweep over these facts in small batches, run once from beginning to end."""
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    finish(command(model, many, out, batch=FEW))
    return out
