"""Killed at any moment, a sweep goes on where it was, and its end is that of one that was never killed."""

import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.forked import Forked
from tests.runner.small import (
    FEW,
    MANY,
    arguments,
    command,
    finish,
    same,
    start,
    tables,
    torn,
    traced_shards,
    until,
)

KILLS = 22


def state(out: Path) -> dict[str, int]:
    """Every finished shard and when it was written."""
    files = out.glob("*/*.parquet")
    return {path.name: path.stat().st_mtime_ns for path in files if path.name[0] != "."}


def kill_somewhere(running: Forked, out: Path, dice: random.Random) -> None:
    """SIGKILL while it starts, after some batches, or in the middle of a write."""
    moment = dice.choice(["start", "batches", "batches", "write", "write"])
    before = traced_shards(out)
    if moment == "start":
        time.sleep(dice.uniform(0.0, 0.8))
    elif moment == "batches":
        wanted = before + dice.randint(1, 6)
        until(running, lambda: traced_shards(out) >= wanted)
        time.sleep(dice.uniform(0.0, 0.05))
    else:
        until(running, lambda: traced_shards(out) > before)
        until(running, lambda: bool(torn(out)))
    running.kill()
    running.communicate()


@pytest.mark.slow
def test_a_sweep_killed_over_and_over_ends_as_one_that_never_was(
    uninterrupted: Path, model: Path, many: Path, tmp_path: Path
):
    out, dice = tmp_path / "out", random.Random(0)
    kills = interrupted_writes = 0
    while kills < KILLS:
        running = Forked(arguments(model, many, out, batch=FEW))
        before = state(out)
        kill_somewhere(running, out, dice)
        assert running.returncode == -signal.SIGKILL, "it finished before it could be killed"
        kills += 1
        interrupted_writes += bool(torn(out))
        after = state(out)
        assert before.items() <= after.items(), "a finished batch was lost or done again"
    assert 0 < traced_shards(out) < MANY / FEW
    if not torn(out):  # at least once for certain: what a write leaves that is killed half-way
        shard = next((out / "traced").glob("*.parquet"))
        half = shard.read_bytes()[: shard.stat().st_size // 2]
        (out / "traced" / f".{shard.name}.half").write_bytes(half)
    finish(command(model, many, out, batch=FEW))
    assert same(out, uninterrupted)
    assert not torn(out)
    ids = tables(out)[1]["fact_id"].to_pylist()
    assert len(ids) == len(set(ids)) == MANY + 1
    print(f"killed {kills} times, {interrupted_writes} of them during a write")


@pytest.mark.slow
def test_killed_with_two_workers_it_leaves_no_process_and_goes_on(
    uninterrupted: Path, model: Path, many: Path, tmp_path: Path
):
    out = tmp_path / "out"
    running = start(command(model, many, out, "--workers", "2", batch=FEW))
    until(running, lambda: traced_shards(out) >= 3)
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) >= 2
    running.kill()
    running.communicate()
    assert not psutil.wait_procs(children, timeout=60)[1]
    finish(command(model, many, out, "--workers", "2", batch=FEW))
    assert same(out, uninterrupted)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(
    uninterrupted: Path, model: Path, many: Path, tmp_path: Path
):
    out = tmp_path / "out"
    running = start(command(model, many, out, "--workers", "2", batch=FEW))
    until(running, lambda: traced_shards(out) >= 3)
    workers = [
        child
        for child in psutil.Process(running.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    told = running.communicate()[1]
    assert running.returncode == 0, told
    assert same(out, uninterrupted)
