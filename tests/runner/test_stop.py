"""Ctrl-C: what is in flight is finished and written, the exit code is 130, and the same command goes on."""

import os
import signal
from pathlib import Path

import pytest

from tests.runner.small import (
    FEW,
    MANY,
    command,
    finish,
    same,
    start,
    torn,
    traced_shards,
    until,
)

EVERYWHERE = pytest.mark.parametrize(
    "options",
    [[], ["--workers", "2"], ["--executor", "ray", "--workers", "2"]],
    ids=["here", "processes", "ray"],
)


@pytest.mark.slow
@EVERYWHERE
def test_what_is_in_flight_is_finished_and_the_same_command_goes_on(
    options: list[str], uninterrupted: Path, model: Path, many: Path, tmp_path: Path
):
    out = tmp_path / "out"
    again = command(model, many, out, *options, batch=FEW)
    running = start(again)
    until(running, lambda: traced_shards(out) >= 3)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    told = running.communicate()[1]
    assert running.returncode == 130, told
    assert "finishing what is in flight" in told
    done = traced_shards(out)
    assert 3 <= done < MANY / FEW
    assert f"stopped with {FEW * done} of {MANY} facts traced" in told
    assert "the same command goes on from there" in told
    assert "Traceback" not in told
    assert not torn(out)
    assert finish(again).startswith(f"{MANY} traced, 0 skipped, 1 failed\n")
    assert same(out, uninterrupted)


@pytest.mark.slow
@EVERYWHERE
def test_a_second_interruption_stops_at_once(
    options: list[str], model: Path, many: Path, tmp_path: Path
):
    out = tmp_path / "out"
    running = start(command(model, many, out, *options, batch=MANY))
    until(running, lambda: (out / "measured").is_dir())
    os.killpg(running.pid, signal.SIGINT)
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=600)
    assert running.returncode == 130
    assert traced_shards(out) == 0  # the one batch was not finished
    assert not torn(out)
