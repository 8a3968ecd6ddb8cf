"""Several workers, each a process of its own on this machine (concurrent.futures, spawn)."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from mambascope.runner.executors.base import DEATHS, Executor, workers_die
from mambascope.runner.stop import Stop
from mambascope.runner.units import Done, Unit
from mambascope.runner.worker import Worker


class Processes(Executor):
    """A pool of processes. One that is killed is replaced, and what it did is done again."""

    def __init__(self, worker: Worker, workers: int) -> None:
        self._worker, self._workers = worker, workers
        self._pool: ProcessPoolExecutor | None = None
        self._own: set[BaseProcess] = set()

    def run(self, units: Sequence[Unit], stop: Stop) -> Iterator[Done]:
        """See Executor."""
        waiting, deaths = list(reversed(units)), 0
        running: dict[Future[Done], Unit] = {}
        failed: BaseException | None = None
        while True:
            while waiting and len(running) < self._workers and not (stop.asked or failed):
                unit = waiting.pop()
                running[self._submit(unit)] = unit
            if not running:
                break
            killed: list[Unit] = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit, error = running.pop(future), future.exception()
                if error is None:
                    deaths = 0
                    yield future.result()
                elif isinstance(error, BrokenProcessPool):
                    killed.append(unit)
                else:
                    failed = failed or error
            if killed:
                waiting += [*killed, *running.values()][::-1]
                running.clear()
                self.close(at_once=False)
                deaths += 1
                if deaths == DEATHS:
                    raise workers_die()
        if failed:
            raise failed

    def close(self, *, at_once: bool) -> None:
        """See Executor."""
        if at_once:
            for process in self._own:
                process.terminate()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _submit(self, unit: Unit) -> "Future[Done]":
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=spawn, initializer=_begin, initargs=(self._worker,)
            )
        before = set(multiprocessing.active_children())
        with _interrupts_held_back():
            try:
                future = self._pool.submit(_do, unit)  # starts a process if none is idle
            except BrokenProcessPool as error:  # one died since the last unit ended
                future = Future[Done]()
                future.set_exception(error)
        self._own |= set(multiprocessing.active_children()) - before
        return future


_worker: Worker


def _begin(worker: Worker) -> None:
    """Become a worker that ends when the process that started it does."""
    global _worker
    _worker = worker
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(unit: Unit) -> Done:
    return _worker.run(unit)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes that start here never see Ctrl-C, which a terminal sends to all; here it comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
