"""Workers as actors on Ray: on this machine, or on the cluster at an address. Ray places, restarts and retries them.

The model must be found under the same name on every machine of a cluster, and mambascope be installed there. Results come back
to this process, which alone writes.
"""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from mambascope.errors import ConfigError
from mambascope.runner.executors.base import DEATHS, Executor, workers_die
from mambascope.runner.stop import Stop
from mambascope.runner.units import Done, Unit
from mambascope.runner.worker import Worker

SECONDS_TO_CONNECT = 10.0
OBJECT_STORE = 128 * 2**20  # bytes on this machine; what passes through it is small


class RayExecutor(Executor):
    """Ray's ActorPool over workers. One that is killed is restarted, and what it did is done again."""

    def __init__(self, worker: Worker, workers: int | None, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                "executor 'ray' needs the extra `ray`: pip install 'mambascope[ray]'"
            ) from error
        self._ray, self._worker, self._workers, self._address = ray, worker, workers, address
        self._pool: Any = None
        self._started = False

    def run(self, units: Sequence[Unit], stop: Stop) -> Iterator[Done]:
        """See Executor."""
        pool = self._started_pool() if units else None
        waiting = list(reversed(units))
        failed: BaseException | None = None
        while pool is not None:
            while waiting and pool.has_free() and not (stop.asked or failed):
                pool.submit(lambda actor, unit: actor.run.remote(unit), waiting.pop())
            if not pool.has_next():
                break
            try:
                done = pool.get_next_unordered()
            except self._ray.exceptions.RayTaskError as error:
                failed = failed or error.cause
            except self._ray.exceptions.RayActorError as error:
                failed = failed or workers_die().with_traceback(error.__traceback__)
            else:
                yield done
        if failed:
            raise failed

    def close(self, *, at_once: bool) -> None:
        """Leave Ray, which ends the workers; and end it, if it was started here."""
        if self._started:
            self._ray.shutdown()

    def _started_pool(self) -> Any:
        if self._pool is None:
            from ray.util import ActorPool

            self._start()
            count = self._workers or self._cpus()
            gpus = 1 if self._worker.config.device.startswith("cuda") else 0
            actor = self._ray.remote(
                num_cpus=1, num_gpus=gpus, max_restarts=DEATHS, max_task_retries=DEATHS
            )(Worker)
            made = [actor.remote(self._worker.config, self._worker.linear) for _ in range(count)]
            self._pool = ActorPool(made)
        return self._pool

    def _cpus(self) -> int:
        return 1 if self._address is None else int(self._ray.cluster_resources().get("CPU", 1))

    def _start(self) -> None:
        if self._ray.is_initialized():
            return
        own = {
            "num_cpus": self._workers or 1,
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        }
        if self._address is not None:
            _check_reachable(self._address)
        logging.getLogger("ray").setLevel(logging.ERROR)
        options: dict[str, Any] = own if self._address is None else {"address": self._address}
        try:
            self._ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:
            # Ray raises a bare one if its own processes do not start in time.
            where = f"at {self._address}" if self._address else "on this machine"
            raise ConfigError(f"cannot start on Ray {where}: {error}") from error
        self._started = True


def _check_reachable(address: str) -> None:
    """ConfigError if nothing listens at HOST:PORT, where Ray would go on trying without an end; "auto" Ray finds itself."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot reach a Ray cluster at {address}: {error}") from error
