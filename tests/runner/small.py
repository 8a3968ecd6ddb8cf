"""A tiny model with the atlas tokenizer, a file of facts, and sweeps over them in processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from mambascope.runner.config import KnockoutSweep, SweepConfig, TraceSweep
from mambascope.runner.sweep import sweep
from tests.forked import Forked

MANY, FEW = 240, 2  # facts of a sweep that is to be interrupted, and how many of them are a batch
PATIENCE = 600.0
COMMAND = [sys.executable, "-m", "mambascope"]
PLACES = ("France", "Peru", "New Zealand", "Chad", "Sierra Leone", "Italy", "Burkina Faso", "Japan")
PROMPTS = ("{} lies in", "The capital of {} is", "As everybody knows, people in {} speak")


def save_model(folder: Path, seed: int = 1) -> Path:
    """A random Mamba-1 whose mixers matter, in the transformers layout."""
    from mambascope.data.tokenizer import load_tokenizer
    from mambascope.models.config import Mamba1Config
    from mambascope.models.language_model import LanguageModel
    from mambascope.training.init import initialise

    tokenizer = load_tokenizer()
    sizes = {"n_layers": 2, "d_model": 16, "d_inner": 32, "dt_rank": 2, "d_state": 4}
    model = LanguageModel(Mamba1Config(vocab_size=len(tokenizer), **sizes), tokenizer)
    initialise(model, seed=seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("_proj.weight", "embedding")):
                weight.mul_(10)
    model.save(folder)
    return folder


def save_facts(path: Path, count: int = 24) -> Path:
    """`count` facts of unequal lengths as JSON lines, most without an answer; and one whose subject is not in its prompt."""
    rows = []
    for number in range(count):
        place = PLACES[number % len(PLACES)]
        prompt = PROMPTS[number % len(PROMPTS)] + " so" * (number // 24 % 4)
        answer = {"answer": f"a{number}"} if number % 5 == 0 else {}
        row = {"fact_id": f"f{number}", "prompt": prompt, "subject": place, "relation": "r"}
        rows.append({**row, **answer})
    lost = {"fact_id": "lost", "prompt": "The capital of France is", "subject": "Spain"}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, lost]))
    return path


def config_of(model: Path, facts: Path, **options: Any) -> TraceSweep:
    """A sweep of few samples in small batches."""
    tracing = {"samples": 2, **options.pop("tracing", {})}
    given = {"facts": str(facts), "model": str(model), "batch": 4, "tracing": tracing, **options}
    return TraceSweep(**given)


def knockout_of(model: Path, facts: Path, **options: Any) -> KnockoutSweep:
    """A sweep of knockouts in small batches."""
    knockout = {"window": 1, "source": ("subject", "context"), **options.pop("knockout", {})}
    given = {"facts": str(facts), "model": str(model), "batch": 4, "knockout": knockout, **options}
    return KnockoutSweep(**given)


def arguments(model: Path, facts: Path, out: Path, *options: str, batch: int = 4) -> list[str]:
    """What the command line is given to run the same sweep."""
    given = ["--facts", str(facts), "--model", str(model), "--out", str(out)]
    few = ["--batch", str(batch), "--samples", "2"]
    return ["sweep", "trace", *given, *few, *options]


def knockout_arguments(
    model: Path, facts: Path, out: Path, *options: str, batch: int = 4
) -> list[str]:
    """What the command line is given to run a sweep of knockouts."""
    given = ["--facts", str(facts), "--model", str(model), "--out", str(out)]
    few = ["--batch", str(batch), "--window", "1", "--source", "subject", "context"]
    return ["sweep", "knockout", *given, *few, *options]


def command(*given: Any, **options: Any) -> list[str]:
    """The command that runs the same sweep in a process of its own, started from nothing."""
    return [*COMMAND, *arguments(*given, **options)]


def knockout_command(*given: Any, **options: Any) -> list[str]:
    """The command of a sweep of knockouts in a process of its own."""
    return [*COMMAND, *knockout_arguments(*given, **options)]


def start(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    """The command, begun in a session of its own, so that a signal to its group reaches nothing else."""
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        **options,
    )


def finish(arguments: list[str]) -> str:
    """Run the command to its end; what it printed."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(out: Path) -> tuple[Any, Any]:
    """Cells and facts of a finished sweep."""
    return pq.read_table(out / "cells.parquet"), pq.read_table(out / "facts.parquet")


def same(first: Path, second: Path) -> bool:
    """True if two finished sweeps have the same rows, value for value."""
    return all(one.equals(other) for one, other in zip(tables(first), tables(second), strict=True))


def traced_shards(out: Path) -> int:
    """How many batches are done so far."""
    return sum(1 for _ in (out / "traced").glob("*.parquet"))


def unfinished(config: SweepConfig, out: Path) -> None:
    """All shards of a sweep whose end did not come."""
    with pytest.MonkeyPatch.context() as never:
        never.setattr("mambascope.runner.sweep.finish", lambda *_: None)
        sweep(config, out)


def damage(shards: Path) -> None:
    """Of six shards, number 1 is lost and number 3 is cut short."""
    files = sorted(shards.glob("*.parquet"))
    assert len(files) == 6
    files[1].unlink()
    files[3].write_bytes(files[3].read_bytes()[:-9])


def torn(out: Path) -> list[Path]:
    """The temporary files of writes that were interrupted."""
    return [path for path in out.rglob(".*.*") if path.is_file()]


def until(running: subprocess.Popen | Forked, ready: Callable[[], bool]) -> None:
    """Wait until it is so, or the process has ended by itself."""
    end = time.monotonic() + PATIENCE
    while not ready() and running.poll() is None and time.monotonic() < end:
        time.sleep(0.0005)
