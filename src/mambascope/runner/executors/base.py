"""What an executor is: a context in which units are done, in whatever order."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType

from mambascope.errors import MambascopeError
from mambascope.runner.stop import Stop
from mambascope.runner.units import Done, Unit

DEATHS = 3


class Executor(ABC):
    """Does units; its processes live from its first units until it is left."""

    def __enter__(self) -> "Executor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(at_once=kind is not None and issubclass(kind, KeyboardInterrupt))

    @abstractmethod
    def run(self, units: Sequence[Unit], stop: Stop) -> Iterator[Done]:
        """Each unit's result as soon as it is there; once a stop is asked for, only those that were begun.

        After an error no further unit begins, and it is raised when the others in flight are given.
        """

    @abstractmethod
    def close(self, *, at_once: bool) -> None:
        """End the processes; `at_once`: without waiting for what they do."""


def workers_die() -> MambascopeError:
    """The error of workers that are killed again and again, as the system does when memory runs out."""
    return MambascopeError(
        f"worker processes were killed {DEATHS} times with nothing finished in between, which happens when memory runs out; "
        "take fewer --workers, or a smaller --batch and --memory in another folder"
    )
