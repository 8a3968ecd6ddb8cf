"""Any executor and any number of workers give the same bits; what an executor cannot do is an error."""

import socket
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from mambascope.errors import ConfigError, MambascopeError
from mambascope.runner.executors import make_executor
from mambascope.runner.executors.base import workers_die
from mambascope.runner.executors.processes import Processes
from mambascope.runner.steady import linear_choice, steady
from mambascope.runner.sweep import sweep
from mambascope.runner.units import Unit
from mambascope.runner.worker import Worker
from tests.runner.small import (
    command,
    config_of,
    finish,
    same,
    save_facts,
    start,
    traced_shards,
    until,
)


@pytest.fixture(scope="module")
def here(model: Path, facts: Path, tmp_path_factory) -> Path:
    """The sweep, done in a process of its own by one worker."""
    out = tmp_path_factory.mktemp("here") / "out"
    finish(command(model, facts, out))
    return out


def test_a_program_gets_the_same_bits_as_the_command(
    here: Path, model: Path, facts: Path, tmp_path: Path
):
    out = sweep(config_of(model, facts), tmp_path / "out")
    assert (out / "cells.parquet").read_bytes() == (here / "cells.parquet").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["2", "3"])
def test_processes_give_the_same_bits(
    workers: str, here: Path, model: Path, facts: Path, tmp_path: Path
):
    finish(command(model, facts, tmp_path / "out", "--workers", workers))
    for name in ("cells.parquet", "facts.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (here / name).read_bytes()


@pytest.mark.slow
def test_ray_gives_the_same_bits(here: Path, model: Path, facts: Path, tmp_path: Path):
    finish(command(model, facts, tmp_path / "out", "--executor", "ray", "--workers", "2"))
    for name in ("cells.parquet", "facts.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (here / name).read_bytes()


@pytest.mark.slow
def test_a_ray_worker_that_is_killed_is_restarted_and_nothing_is_lost(model: Path, tmp_path: Path):
    many = save_facts(tmp_path / "facts.jsonl", 120)
    finish(command(model, many, tmp_path / "here", batch=2))
    out = tmp_path / "out"
    running = start(command(model, many, out, "--executor", "ray", batch=2))
    until(running, lambda: traced_shards(out) >= 3)
    workers = [
        child
        for child in psutil.Process(running.pid).children(recursive=True)
        if child.name().startswith("ray::Worker") or "ray::Worker" in " ".join(child.cmdline())
    ]
    assert len(workers) == 1
    workers[0].kill()
    told = running.communicate()[1]
    assert running.returncode == 0, told
    assert same(out, tmp_path / "here")


@pytest.mark.slow
def test_a_mistake_that_a_worker_finds_is_one_line(model: Path, facts: Path, tmp_path: Path):
    ray = [["--executor", "ray"]] if "ray" in sys.modules or _has_ray() else []
    for options in [["--workers", "2"], *ray]:
        wrong = start(command(model, facts, tmp_path / "out", "--site", "hidden", *options))
        told = wrong.communicate()[1]
        assert wrong.returncode == 2
        assert told.startswith("mambascope: cannot trace site 'hidden'")
        assert told.count("\n") == 1


def test_without_ray_the_extra_is_named(model: Path, facts: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    worker = Worker(config_of(model, facts), "onednn")
    with pytest.raises(
        ConfigError, match=r"needs the extra `ray`: pip install 'mambascope\[ray\]'"
    ):
        make_executor("ray", worker, None, None)


def test_an_address_where_nothing_listens_is_an_error(model: Path, facts: Path, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "host:port"):
        with pytest.raises(ConfigError, match=f"cannot reach a Ray cluster at {address}"):
            sweep(config_of(model, facts), tmp_path / "out", executor="ray", address=address)


def test_a_ray_that_does_not_start_in_time_is_an_error(
    model: Path, facts: Path, tmp_path: Path, monkeypatch
):
    ray = pytest.importorskip("ray")

    def slow(**_):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(ConfigError, match="cannot start on Ray on this machine: The current node"):
        sweep(config_of(model, facts), tmp_path / "out", executor="ray")


@pytest.mark.parametrize(
    ("kind", "workers", "address", "message"),
    [
        ("local", 0, None, "workers must be at least 1, not 0"),
        ("local", None, "auto", "an address is for executor 'ray'"),
        ("dask", None, None, "unknown executor 'dask'; it is one of: local, ray"),
    ],
)
def test_what_cannot_be_is_refused(
    kind: str, workers: int | None, address: str | None, message: str, model: Path, facts: Path
):
    with pytest.raises(ConfigError, match=message):
        make_executor(kind, Worker(config_of(model, facts), "onednn"), workers, address)


def test_workers_that_die_again_and_again_are_an_error():
    assert isinstance(workers_die(), MambascopeError)
    assert "--workers" in str(workers_die())


def test_arithmetic_is_steady_inside_and_as_before_afterwards(monkeypatch):
    import os

    import torch

    from mambascope.models.kernels.matrix_unit import has_matrix_unit

    monkeypatch.setenv("MAMBASCOPE_LINEAR", "mkl")
    assert linear_choice() == "mkl"
    monkeypatch.delenv("MAMBASCOPE_LINEAR")
    before = torch.get_num_threads()
    with steady(linear_choice()):
        assert torch.get_num_threads() == 1
        assert os.environ["MAMBASCOPE_LINEAR"] == ("amx" if has_matrix_unit() else "onednn")
    assert torch.get_num_threads() == before
    assert "MAMBASCOPE_LINEAR" not in os.environ


def _has_ray() -> bool:
    from importlib.util import find_spec

    return find_spec("ray") is not None


def test_a_pool_that_broke_between_two_units_is_told_with_the_unit():
    class Broken:
        def submit(self, *_):
            raise BrokenProcessPool("a worker died")

    executor = object.__new__(Processes)
    executor._pool, executor._own = Broken(), set()
    assert isinstance(executor._submit(object.__new__(Unit)).exception(), BrokenProcessPool)
