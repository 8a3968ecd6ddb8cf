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
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms

LAYERS, WIDTH, VOCAB = 24, 768, 50_280  # mamba-130m and mamba2-130m


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
    """All matrix products of one forward pass and nothing else: through PyTorch, and through oneDNN with packed weights."""
    weights = [m.weight.detach() for m in model.blocks.modules() if isinstance(m, nn.Linear)]
    inputs = {w.shape[1]: torch.randn(tokens, w.shape[1]) for w in weights}
    operators = torch.ops.mkldnn
    packed = [(operators._reorder_linear_weight(w, 64), inputs[w.shape[1]]) for w in weights]

    def plain() -> None:
        for weight in weights:
            F.linear(inputs[weight.shape[1]], weight)

    def onednn() -> None:
        for weight, x in packed:
            operators._linear_pointwise(x, weight, None, "none", [], "")

    return [plain, onednn]
