"""The command line in processes of their own, forked from one that has imported what takes long.

A process begins in a moment instead of seconds, so that tests may start dozens; it is killed and interrupted like any other.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

IMPORTED = [
    "mambascope.cli.main",
    "mambascope.methods.knockout.many",
    "mambascope.methods.tracing.many",
    "mambascope.models.kernels.fused",
    "mambascope.models.load",
    "mambascope.runner.sweep",
    "mambascope.training.train",
    "numba.np.linalg",
    "pyarrow.dataset",
    "transformers.models.auto.tokenization_auto",
]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(IMPORTED)


class Forked:
    """`mambascope ARGUMENTS` in a session of its own, with the interface of subprocess.Popen as far as tests need it."""

    def __init__(self, arguments: Sequence[str], **environment: str) -> None:
        self._told = Path(tempfile.mkdtemp(prefix="mambascope-told-"))
        self._process = SERVER.Process(target=_main, args=([*arguments], self._told, environment))
        self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        """As `poll`; minus the signal's number if one ended it."""
        return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed and what it reported, at its end; TimeoutError if that does not come."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} still runs")
        files = (self._told / "stdout", self._told / "stderr")
        out, err = (path.read_text() if path.exists() else "" for path in files)
        return out, err


def _main(arguments: list[str], told: Path, environment: dict[str, str]) -> None:
    os.setsid()
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(told / name, os.O_WRONLY | os.O_CREAT), number)
    from mambascope.cli.main import main

    main(arguments)
