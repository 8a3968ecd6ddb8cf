"""Facts per second of causal tracing: each fact alone, facts that share a replay, and two processes against one.

    python benchmarks/sweep.py [--quick] [--case atlas-mamba1]

Prints two Markdown tables. Each fact is a whole grid of `resid_post` with ten noise samples; facts are bundled ones, sorted by
length as in a sweep. Every process computes with one thread. In the first table the ways run by turns in one process, and
`times faster` is against each fact by itself (`mambascope.trace`). In the second a pool of one process and a pool of two do the
same batches by turns, both started and warmed up before.
"""

import argparse
import gc
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from _shared import LAYERS, VOCAB, WIDTH, Timing, reference

import mambascope as ms
from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.fact_sets import read_facts
from mambascope.data.tokenizer import load_tokenizer
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.many import trace_many

MEMORY = 2**30
LARGE = "mamba-130m size"
CONFIG = TracingConfig(samples=10)
_state: dict[str, Any] = {}  # of a worker: its model, and where all workers meet


@dataclass(frozen=True)
class Case:
    """A model, how many facts it traces, in batches of which sizes; the last one is used for the processes."""

    name: str
    layers: int
    facts: int
    batches: tuple[int, ...]
    repeats: int

    def model(self) -> ms.LanguageModel:
        """The bundled model of that name, or random weights."""
        if self.name != LARGE:
            return ms.load(self.name)
        torch.manual_seed(0)
        model = ms.load(reference("Mamba-1", self.layers, WIDTH, VOCAB).eval())
        model.tokenizer = load_tokenizer()
        return model

    def questions(self, model: ms.LanguageModel) -> list[FactPrompt]:
        """Facts spread over the table, the shortest prompts first."""
        every = read_facts("bundled").facts
        chosen = every[:: max(1, len(every) // self.facts)][: self.facts]
        return sorted(chosen, key=lambda fact: len(model.tokenizer.encode(fact.prompt)))


CASES = (
    Case("atlas-mamba1", 10, 64, (1, 4, 16), 3),
    Case(LARGE, LAYERS, 12, (1, 2), 1),
)
QUICK = (
    Case("atlas-mamba1", 10, 8, (1, 4), 1),
    Case(LARGE, LAYERS // 8, 4, (1, 2), 1),
)


def alone(model: ms.LanguageModel, facts: Sequence[FactPrompt]) -> None:
    """One trace after the other."""
    for fact in facts:
        ms.trace(model, fact.prompt, subject=fact.subject, answer=fact.answer, samples=10)


def parts(facts: Sequence[FactPrompt], size: int) -> list[Sequence[FactPrompt]]:
    """The facts in neighbours of so many."""
    return [facts[first : first + size] for first in range(0, len(facts), size)]


def together(model: ms.LanguageModel, facts: Sequence[FactPrompt], size: int) -> None:
    """So many facts to a replay."""
    for batch in parts(facts, size):
        trace_many(model, batch, CONFIG, memory=MEMORY)


def sharing(case: Case) -> list[str]:
    """The rows of the first table."""
    model = case.model()
    facts = case.questions(model)
    ways: list[tuple[str, Callable[[], Any]]] = [("trace", partial(alone, model, facts))]
    ways += [(f"{size} together", partial(together, model, facts, size)) for size in case.batches]
    found = Timing.of([call for _, call in ways], case.repeats).medians
    return [
        f"| {case.name} | {name} | {len(facts)} | {seconds:.2f} s | {len(facts) / seconds:.2f} "
        f"| {found[0] / seconds:.2f} |"
        for (name, _), seconds in zip(ways, found, strict=True)
    ]


def start(case: Case, meeting: Any) -> None:
    """What a worker does first."""
    torch.set_num_threads(1)
    _state.update(model=case.model(), meeting=meeting)


def meet() -> None:
    """Wait until every worker is here, so that each has started and taken one of these."""
    _state["meeting"].wait()


def work(facts: Sequence[FactPrompt]) -> int:
    """Trace one batch; the number of facts that were traced."""
    return len(trace_many(_state["model"], facts, CONFIG, memory=MEMORY))


class Pool:
    """So many processes of one thread, each with the model loaded."""

    def __init__(self, case: Case, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.workers = workers
        self.pool = ProcessPoolExecutor(
            workers, context, initializer=start, initargs=(case, context.Barrier(workers))
        )
        for ready in [self.pool.submit(meet) for _ in range(workers)]:
            ready.result()

    def run(self, batches: Sequence[Sequence[FactPrompt]]) -> None:
        """All batches, the longest prompts first, so that no process waits long for another at the end."""
        done = sum(self.pool.map(work, reversed(batches)))
        assert done == sum(map(len, batches))


def workers(case: Case) -> list[str]:
    """The rows of the second table."""
    model = case.model()
    facts, size = case.questions(model), case.batches[-1]
    del model
    gc.collect()
    batches = parts(facts, size)
    pools = [Pool(case, 1), Pool(case, 2)]
    found = Timing.of([partial(pool.run, batches) for pool in pools], case.repeats).medians
    for pool in pools:
        pool.pool.shutdown()
    return [
        f"| {case.name}, {size} together | {pool.workers} | {len(facts)} | {seconds:.2f} s "
        f"| {len(facts) / seconds:.2f} | {found[0] / seconds:.2f} |"
        for pool, seconds in zip(pools, found, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few facts, a smaller large model")
    parser.add_argument("--case", help="only the case of this name")
    chosen = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    cases = [c for c in (QUICK if chosen.quick else CASES) if chosen.case in (None, c.name)]
    if not cases:
        parser.error(f"--case is one of: {', '.join(case.name for case in CASES)}")
    layers = ", ".join(f"{case.name} {case.layers} layers" for case in cases)
    print(f"{layers}, one thread per process, torch {torch.__version__}\n")
    print("| model | facts share a replay | facts | seconds | facts/s | times faster |")
    print("|---|---|---|---|---|---|")
    for case in cases:
        print("\n".join(sharing(case)), flush=True)
    print("\n| model | processes | facts | seconds | facts/s | times faster |")
    print("|---|---|---|---|---|---|")
    for case in cases:
        print("\n".join(workers(case)), flush=True)


if __name__ == "__main__":
    main()
