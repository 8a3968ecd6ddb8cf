"""A training that is killed and started again ends at the same weights, bit for bit."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.forked import Forked

CONFIG = """
name: tiny
model: {{architecture: {architecture}, n_layers: 2, d_model: 16, vocab_size: 4096, eos_ids: [0], {sizes}}}
curriculum: [{{steps: 6, mix: {{copies: 1}}}}, {{steps: 18, mix: {{facts: 1}}}}]
tokens_per_batch: 256
warmup_steps: 4
evaluate_every: 8
evaluate_items: 20
checkpoint_every: 4
out: {out}
"""
SIZES = {
    "mamba1": "d_inner: 32, dt_rank: 2",
    "mamba2": "d_inner: 32, n_heads: 2, head_dim: 16, d_state: 8",
    "transformer": "n_heads: 2, n_kv_heads: 2, head_dim: 8, d_mlp: 32, positions: rotary, rotary_dim: 8, norm: rms, "
    "gated_mlp: true, activation: silu, qkv_bias: false, out_bias: false, mlp_bias: false",
}


def start(config: Path) -> Forked:
    """Left alone, each process measures which product is fastest, and two of them may differ in rounding."""
    return Forked(["train", "--config", str(config)], MAMBASCOPE_LINEAR="mkl")


def finish(process: Forked) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def write_config(folder: Path, architecture: str) -> Path:
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(architecture=architecture, sizes=SIZES[architecture], out=folder))
    return path


def weights(folder: Path) -> bytes:
    return (folder / "tiny" / "final" / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", SIZES)
def test_killed_and_resumed_training_gives_the_same_weights(tmp_path, architecture):
    whole = write_config(tmp_path / "whole", architecture)
    finish(start(whole))
    broken = write_config(tmp_path / "broken", architecture)
    run = broken.parent / "tiny"
    for wanted in ("step-000004", "step-000016"):
        process = start(broken)
        limit = time.monotonic() + 240
        while not (run / wanted).exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        process.kill()
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"it ended before it was killed: {errors}"
    finish(start(broken))
    assert weights(broken.parent) == weights(whole.parent)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [8, 16, 24]
    assert rows == [
        json.loads(x) for x in (whole.parent / "tiny/metrics.jsonl").read_text().splitlines()
    ]
