"""Effective attention of one layer of a long prompt: peak memory of the whole process, and seconds.

    python benchmarks/attention.py                       every row of the table
    python benchmarks/attention.py mamba1 2048 mean_abs  one measurement, as JSON

Sizes of mamba-130m and mamba2-130m with random weights. Each measurement is a process of its own, so its peak (VmHWM)
is that of Python, PyTorch, the model and the map together. `before` is the peak with the model in memory, before the map;
seconds are those of the map with the forward pass that it needs, the first one of its process.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _shared import LAYERS, VOCAB, WIDTH

import mambascope as ms
from mambascope.models.config import Mamba1Config, Mamba2Config, ModelConfig

LAYER = 12
SIZES: dict[str, Any] = {
    "n_layers": LAYERS,
    "d_model": WIDTH,
    "vocab_size": VOCAB,
    "d_inner": 2 * WIDTH,
}
ROWS = [
    (architecture, tokens, reduce)
    for architecture in ("mamba1", "mamba2")
    for tokens, reduce in (
        (512, "mean_abs"),
        (2048, "mean_abs"),
        (512, "contribution"),
        (512, "share"),
        (512, "frobenius"),
    )
]


def config_of(architecture: str) -> ModelConfig:
    """The size of mamba-130m or mamba2-130m."""
    if architecture == "mamba1":
        return Mamba1Config(**SIZES, d_state=16, dt_rank=48)
    return Mamba2Config(**SIZES, n_heads=2 * WIDTH // 64, head_dim=64, d_state=128)


def model_of(architecture: str) -> ms.LanguageModel:
    """Random weights; A_log and dt_bias as the papers begin with them, so that half-lives are of every length."""
    torch.manual_seed(0)
    model = ms.LanguageModel(config_of(architecture)).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.normal_(0, 0.02)
        if name.endswith("A_log"):
            parameter.copy_(
                torch.log(1 + torch.arange(parameter.shape[-1]) % 16).expand_as(parameter)
            )
        elif name.endswith(("dt_proj.bias", "dt_bias")):
            step = torch.exp(torch.empty_like(parameter).uniform_(-6.9, -2.3))
            parameter.copy_(step.expm1().log())
        elif name.endswith("norm.weight"):
            parameter.fill_(1.0)
    return model


def peak() -> float:
    """Megabytes, of this program up to now. On Linux not by ru_maxrss, which begins at the size of whatever started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, as macOS counts
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def measure(architecture: str, tokens: int, reduce: str) -> dict[str, float]:
    """One map in this process."""
    model = model_of(architecture)
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    ids = torch.randint(0, VOCAB, (tokens,))
    span = "scan" if reduce == "mean_abs" else "mixer"
    before, start, used = peak(), time.perf_counter(), time.process_time()
    ms.effective_attention(model, ids, layers=LAYER, span=span, reduce=reduce)
    return {
        "weights": weights,
        "before": before,
        "peak": peak(),
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - used,
    }


def main() -> None:
    """The table, or one measurement."""
    if len(sys.argv) == 4:
        architecture, tokens, reduce = sys.argv[1:]
        print(json.dumps(measure(architecture, int(tokens), reduce)))
        return
    print(
        "| model | tokens | reduce | weights MB | before MB | peak MB | seconds | processor seconds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in ROWS:
        command = [sys.executable, __file__, *map(str, row)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        cells = [*map(str, row), *(f"{found[name]:.0f}" for name in ("weights", "before", "peak"))]
        cells += [f"{found[name]:.1f}" for name in ("seconds", "processor")]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
