"""The folder of a sweep: whose it is, who is at work in it, and where its parts lie.

    manifest.json     the configuration, the digest of the facts, and at the end what came out
    asked/ measured/ traced/    shards of finished units, until the end; the last named as the method has it
    cells.parquet, facts.parquet    the result; with cells.parquet the sweep is finished

At most one run works in it at a time: it holds a lock that goes with its process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mambascope.errors import OutputError
from mambascope.results.folder import MANIFEST, check_folder, write_files
from mambascope.results.manifest import circumstances, from_json, to_json
from mambascope.runner.config import flat
from mambascope.runner.methods import SweepMethod, method_of
from mambascope.runner.shard import Shards

CELLS, FACTS, LOCK = "cells.parquet", "facts.parquet", ".lock"


class SweepFolder:
    """A folder in which this process alone is at work (see `claimed`), or that is only read: its manifest names the method."""

    def __init__(self, path: Path, method: SweepMethod | None = None) -> None:
        self.path = path
        self._method = method

    @property
    def method(self) -> SweepMethod:
        """What is done with each fact."""
        if self._method is None:
            self._method = method_of(self.manifest["method"])
        return self._method

    @property
    def is_sweep(self) -> bool:
        """True if the folder's manifest is that of a sweep's run, not of a result that was saved whole."""
        return "sweep" in self.manifest

    @property
    def finished(self) -> bool:
        """True once the result is there; it is written last."""
        return (self.path / CELLS).is_file()

    @property
    def started(self) -> bool:
        """True if any work is there that could be lost."""
        return self.finished or any(
            any((self.path / stage).glob("*.parquet")) for stage in self.method.stages
        )

    @property
    def weights(self) -> str | None:
        """The hash of the weights that the work so far was done with."""
        stages = self.method.stages
        shards = (shard for stage in stages for _, shard in self.shards(stage).read())
        return next((shard.told["weights"] for shard in shards), None)

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest; OutputError if there is none that can be read."""
        try:
            return from_json((self.path / MANIFEST).read_bytes())
        except OSError as error:
            raise OutputError(f"cannot read {self.path / MANIFEST}: {error.strerror}") from error

    def shards(self, stage: str) -> Shards:
        """The finished units of a stage."""
        return Shards(self.path / stage)

    def description(self, sweep: dict[str, Any], **told: Any) -> bytes:
        """The manifest's content: whose folder this is, and what else is told."""
        return to_json({**circumstances(self.method.produces), "sweep": sweep, **told}).encode()


@contextmanager
def claimed(path: Path, sweep: dict[str, Any], method: SweepMethod) -> Iterator[SweepFolder]:
    """The folder for this sweep, made if need be and locked for this process.

    sweep: everything that decides the numbers; a folder that holds work of another such is refused
    Raises OutputError if it cannot be written to, holds something else, or another run is at work in it.
    """
    folder = SweepFolder(path, method)
    if not _only_locked(path):
        check_folder(path, method.produces)
        if (path / MANIFEST).exists() and not folder.is_sweep:
            raise OutputError(f"{path} holds a result that was saved there; name another folder")
    with _lock(path):
        for torn in path.glob(".*.*"):  # temporary files of an interrupted write
            torn.unlink()
        if folder.started:
            _refuse_another(folder, sweep)
        else:
            write_files(path, {MANIFEST: folder.description(sweep, finished=False)})
        yield folder


def difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The options in which two sweeps differ, as (name: theirs, ours)."""
    there, here = flat(theirs), flat(ours)
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return "; ".join(
        f"{name}: {there.get(name)!r} there, {here.get(name)!r} here" for name in names
    )


def _refuse_another(folder: SweepFolder, sweep: dict[str, Any]) -> None:
    found = difference(folder.manifest.get("sweep", {}), sweep)
    if found:
        raise OutputError(
            f"{folder.path} holds a sweep of another configuration ({found}); give the options it was begun with, "
            "or name another folder"
        )


def _only_locked(path: Path) -> bool:
    """True for a folder of a run that was stopped before it said whose the folder is."""
    return path.is_dir() and all(
        file.name == LOCK or file.name.startswith(f".{MANIFEST}.") for file in path.iterdir()
    )


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write to {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"another run is at work in {path}; wait for its end, or name another folder"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot lock {path / LOCK}: {error.strerror}") from error
    else:
        yield
    finally:
        os.close(handle)
