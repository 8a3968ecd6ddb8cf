"""Where units are done: in this process, in processes of this machine, or on Ray. One file each; all give the same results."""

from mambascope.errors import ConfigError
from mambascope.runner.executors.base import Executor
from mambascope.runner.worker import Worker

EXECUTORS = ("local", "ray")


def make_executor(kind: str, worker: Worker, workers: int | None, address: str | None) -> Executor:
    """The executor of this kind, to be entered; it starts when it gets its first units.

    worker:  what each of its processes becomes a copy of
    workers: how many do units at the same time; by default 1, or on a Ray cluster one for each of its CPUs
    address: of a Ray cluster; by default Ray is started on this machine
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    if address is not None and kind != "ray":
        raise ConfigError("an address is for executor 'ray'")
    if kind == "ray":
        from mambascope.runner.executors.on_ray import RayExecutor

        return RayExecutor(worker, workers, address)
    if kind != "local":
        raise ConfigError(f"unknown executor {kind!r}; it is one of: {', '.join(EXECUTORS)}")
    from mambascope.runner.executors.here import Here
    from mambascope.runner.executors.processes import Processes

    return Here(worker) if workers in (None, 1) else Processes(worker, workers)
