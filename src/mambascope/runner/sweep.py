"""A sweep: every fact of a set through one method, as units whose results are kept as soon as they are there.

The facts are asked (is the subject there, does the model know the answer?), their subjects measured, and those that are taken
done in batches. Each unit is done by exactly one worker and written once, by this process, so that a run that was killed at
any moment is gone on with by starting it again.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.fact_sets import FactSet
from mambascope.errors import OutputError
from mambascope.progress import ProgressBar
from mambascope.runner.config import SweepConfig
from mambascope.runner.executors import Executor, make_executor
from mambascope.runner.folder import SweepFolder, claimed
from mambascope.runner.methods import method_of
from mambascope.runner.progress import SweepProgress
from mambascope.runner.result import clear, finish
from mambascope.runner.shard import Shards
from mambascope.runner.steady import linear_choice
from mambascope.runner.stop import Stop
from mambascope.runner.units import (
    ASKED,
    MEASURED,
    Done,
    Unit,
    ask_units,
    batch_units,
    measure_units,
)
from mambascope.runner.worker import Worker

GO_ON = "what was finished is kept, and the same command goes on from there"
SHOWN = 3
DOING = {ASKED: "asking", MEASURED: "measuring"}
SECONDS = 600.0  # batches are few and slow, so the speed is averaged over many of them


def sweep(
    config: SweepConfig,
    out: str | Path,
    *,
    executor: str = "local",
    workers: int | None = None,
    address: str | None = None,
) -> Path:
    """Run a sweep, or go on with it, until its results are in the folder `out`; gives the folder.

    executor: "local" (with several workers: processes of this machine) or "ray"; results are bit for bit the same for any
    workers:  how many units are done at the same time; by default 1, or on a cluster one for each of its CPUs
    address:  of a Ray cluster

    Raises DataError for facts that cannot be read, ConfigError for an impossible option, ModelError for a model that cannot be
    found or run, OutputError for a folder that cannot be written to or holds something else, and KeyboardInterrupt after Ctrl-C.
    """
    method = method_of(config.method)
    facts = method.read(config).limited(config.limit)
    _tell_broken(facts, method.noun)
    linear = linear_choice()
    whose = identity(config, facts, linear)
    chosen = make_executor(executor, Worker(config, linear), workers, address)
    with claimed(Path(out).expanduser(), whose, method) as folder, Stop() as stop:
        if folder.finished:
            clear(folder)
        else:
            with chosen, ProgressBar(f"reading {method.noun}", estimate=SECONDS) as bar:
                run = _Run(folder, chosen, stop, SweepProgress(bar, method.noun))
                asked = run.all(facts.facts, config)
            finish(folder, whose, facts.facts, asked)
    return folder.path


def identity(config: SweepConfig, facts: FactSet, linear: str) -> dict[str, Any]:
    """All that decides the numbers of a sweep: its folder is refused to any other."""
    told = {"source": facts.source, "count": len(facts.facts), "digest": facts.digest}
    return {**config.model_dump(mode="json"), "facts": told, "linear": linear}


class _Run:
    """One run of a sweep in its folder."""

    def __init__(
        self, folder: SweepFolder, executor: Executor, stop: Stop, progress: SweepProgress
    ) -> None:
        self.folder, self.executor, self.stop, self.progress = folder, executor, stop, progress
        self.method, self.weights = folder.method, folder.weights

    def all(self, facts: Sequence[FactPrompt], config: SweepConfig) -> dict[str, dict[str, Any]]:
        """Every stage; gives what was found out about each fact when it was asked."""
        self.do(ask_units(facts))
        asked = {
            row["fact_id"]: row
            for _, shard in self.folder.shards(ASKED).read()
            for row in shard.table.to_pylist()
        }
        method = self.method
        self.do(measure_units(method.measured(facts, config), asked))
        measured = [shard for _, shard in self.folder.shards(MEASURED).read()]
        given = method.given(facts, config, measured)
        self.do(batch_units(method.done, facts, asked, config.batch, given))
        return asked

    def do(self, units: Sequence[Unit]) -> None:
        """The units of one stage that are not done yet."""
        if not units:
            return
        stage, shards = units[0].stage, self.folder.shards(units[0].stage)
        sizes = {unit.number: len(unit.facts) for unit in units}
        done = shards.clean({unit.number: unit.fact_ids for unit in units})
        total = sum(sizes.values())
        doing = f"{DOING.get(stage, self.method.doing)} {self.method.noun}"
        self.progress.begin(doing, sum(sizes[number] for number in done), total)
        for result in self.executor.run([u for u in units if u.number not in done], self.stop):
            self._keep(shards, result)
            done.add(result.number)
            self.progress.advance(sizes[result.number])
        if len(done) < len(units):
            count = sum(sizes[number] for number in done)
            raise KeyboardInterrupt(
                f"stopped with {count} of {total} {self.method.noun} {stage}; {GO_ON}"
            )

    def _keep(self, shards: Shards, result: Done) -> None:
        self.weights = self.weights or result.weights
        if result.weights != self.weights:
            raise OutputError(
                f"{self.folder.path} holds results of other weights of the same model ({self.weights} there, "
                f"{result.weights} here); name another folder"
            )
        try:
            shards.write(result.number, result.content)
        except OutputError as error:
            raise OutputError(f"{error}; {GO_ON}") from error


def _tell_broken(facts: FactSet, noun: str) -> None:
    for message in facts.broken[:SHOWN]:
        warnings.warn(message, stacklevel=3)
    if facts.broken:
        count, read = len(facts.broken), len(facts.facts)
        warnings.warn(f"{count} broken records were left out; {read} {noun} remain", stacklevel=3)
