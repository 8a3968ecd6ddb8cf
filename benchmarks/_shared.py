"""What the benchmarks share: timing in turns, random reference models, and the bare matrix products."""

import gc
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms
from mambascope.models.kernels.onednn import ONEDNN
from mambascope.models.kernels.split_product import SPLIT

LAYERS, WIDTH, VOCAB = 24, 768, 50_280  # mamba-130m and mamba2-130m
PACKINGS = (ONEDNN, SPLIT)


@dataclass(frozen=True)
class Timing:
    """Median seconds of each of some calls made in turn."""

    medians: list[float]

    @classmethod
    def of(cls, calls: list[Callable[[], Any]], repeats: int) -> "Timing":
        """Call each in turn, `repeats` times after a first one that does not count."""
        for call in calls:
            call()
        taken: list[list[float]] = [[] for _ in calls]
        for _ in range(repeats):
            for times, call in zip(taken, calls, strict=True):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
        return cls([statistics.median(times) for times in taken])


def peak_memory(call: Callable[[], Any]) -> tuple[Any, int]:
    """What the call returns, and the largest resident memory while it ran beyond that before it, in bytes."""
    own, done, seen = psutil.Process(), threading.Event(), [0]
    gc.collect()
    before = own.memory_info().rss

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(own.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = call()
    finally:
        done.set()
        watcher.join()
    return found, max(seen)


def reference(architecture: str, layers: int, width: int, vocab: int) -> nn.Module:
    """A transformers model with random weights."""
    shared: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "vocab_size": vocab,
        "use_cache": False,
    }
    if architecture == "GPT-2":
        return GPT2LMHeadModel(GPT2Config(n_embd=width, n_layer=layers, vocab_size=vocab))
    if architecture == "Mamba-1":
        return MambaForCausalLM(MambaConfig(state_size=16, **shared))
    heads = 2 * width // 64
    sizes = {"head_dim": 64, "num_heads": heads, "state_size": 128, "n_groups": 1}
    return Mamba2ForCausalLM(Mamba2Config(**sizes, **shared))


def products_of(model: ms.LanguageModel, tokens: int) -> list[Callable[[], Any]]:
    """All matrix products of one forward pass and nothing else, on every backend of this machine."""
    weights = [m.weight.detach() for m in model.blocks.modules() if isinstance(m, nn.Linear)]
    inputs = {w.shape[1]: torch.randn(tokens, w.shape[1]) for w in weights}
    plain = [(w, inputs[w.shape[1]]) for w in weights]
    calls = [_each(F.linear, plain)]
    for packing in PACKINGS:
        if packing.available():
            copies = [(packing.pack(w)[0], x) for w, x in plain]
            calls.append(_each(lambda x, w, by=packing: by.multiply(x, w, None), copies))
    return calls


def _each(product: Callable[..., Tensor], operands: list[tuple[Any, Tensor]]) -> Callable[[], None]:
    """One product after the other, none kept: what is kept would take fresh memory each time."""

    def run() -> None:
        for weight, x in operands:
            product(x, weight)

    return run
