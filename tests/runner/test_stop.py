"""Ctrl-C: what is in flight is finished and written, the exit code is 130, and the same command goes on."""

import os
import signal
from pathlib import Path

import pytest

from tests.runner.small import command, finish, same, save_facts, start, traced_shards
from tests.runner.test_kill import torn, until

FACTS = 120


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A file of so many facts that a sweep over them can be interrupted."""
    return save_facts(tmp_path_factory.mktemp("many") / "facts.jsonl", FACTS)


@pytest.fixture(scope="module")
def uninterrupted(model: Path, many: Path, tmp_path_factory) -> Path:
    """The same sweep, never interrupted."""
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    finish(command(model, many, out, batch=2))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["here", "processes"])
def test_what_is_in_flight_is_finished_and_the_same_command_goes_on(
    options: list[str], uninterrupted: Path, model: Path, many: Path, tmp_path: Path
):
    out = tmp_path / "out"
    again = command(model, many, out, *options, batch=2)
    running = start(again)
    until(running, lambda: traced_shards(out) >= 3)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    told = running.communicate()[1]
    assert running.returncode == 130, told
    assert "finishing what is in flight" in told
    done = traced_shards(out)
    assert 3 <= done < FACTS / 2
    assert f"stopped with {2 * done} of {FACTS} facts traced" in told
    assert "the same command goes on from there" in told
    assert "Traceback" not in told
    assert not torn(out)
    assert finish(again).startswith(f"{FACTS} traced, 0 skipped, 1 failed\n")
    assert same(out, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["here", "processes"])
def test_a_second_interruption_stops_at_once(
    options: list[str], model: Path, many: Path, tmp_path: Path
):
    out = tmp_path / "out"
    running = start(command(model, many, out, *options, batch=FACTS))
    until(running, lambda: (out / "measured").is_dir())
    os.killpg(running.pid, signal.SIGINT)
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=600)
    assert running.returncode == 130
    assert not torn(out)
