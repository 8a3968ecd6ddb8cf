"""What an executor is: a context in which units are done, in whatever order."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mambascope.errors import MambascopeError
from mambascope.runner.stop import Stop
from mambascope.runner.units import Done, Unit

DEATHS = 3


class Executor(AbstractContextManager["Executor"], Protocol):
    """Does units; its processes live until it is left."""

    def run(self, units: Sequence[Unit], stop: Stop) -> Iterator[Done]:
        """Each unit's result as soon as it is there; once a stop is asked for, only those that were begun.

        After an error no further unit begins, and it is raised when the others in flight are given.
        """
        ...


def workers_die() -> MambascopeError:
    """The error of workers that are killed again and again, as the system does when memory runs out."""
    return MambascopeError(
        f"worker processes were killed {DEATHS} times with nothing finished in between, which happens when memory runs out; "
        "take fewer --workers, or a smaller --batch and --memory in another folder"
    )
