"""Effective attention here against TransformerLens 4's `compute_ssm_effective_attention`, on the same random models.

    python benchmarks/attention_agreement.py PYTHON

PYTHON is that of an environment with torch, transformers and transformer-lens (transformer_lens_attention.py runs in it). Small
models, since TransformerLens holds all of (channels, states, targets, sources) at once. Prints the largest difference by model,
map and layer, beside the largest value of the map; and ours in float32 against ours in float64, which says whose rounding it is.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from _shared import reference

import mambascope as ms

SCRIPT = Path(__file__).with_name("transformer_lens_attention.py")
LAYERS, WIDTH, VOCAB, TOKENS = 3, 128, 211, 40


def theirs(model: torch.nn.Module, ids: list[int], python: str) -> dict[str, torch.Tensor]:
    """The maps by layer and whether with dt, as TransformerLens computes them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")  # pyright: ignore[reportCallIssue]
        (folder / "ids.json").write_text(json.dumps(ids))
        done = subprocess.run([python, SCRIPT, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{SCRIPT.name} failed:\n{done.stderr}")
        return torch.load(folder / "maps.pt", weights_only=True)


def shaken(architecture: str) -> torch.nn.Module:
    """A random model whose scan does something: every parameter moved away from its initial value."""
    torch.manual_seed(0)
    model = reference(architecture, LAYERS, WIDTH, VOCAB).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def main() -> None:
    """The table."""
    print("| model | map | largest value | largest difference | ours, float32 against float64 |")
    print("|---|---|---|---|---|")
    for architecture in ("Mamba-1", "Mamba-2"):
        model = shaken(architecture)
        ids = torch.randint(0, VOCAB, (TOKENS,)).tolist()
        found = theirs(model, ids, sys.argv[1])
        ours = ms.load(model)
        wide = ms.load(model, dtype="float64")
        for with_dt in (True, False):
            maps = [found[f"{layer} {with_dt}"].numpy() for layer in range(LAYERS)]
            mine, exact = (
                ms.effective_attention(each, ids, reduce=None, with_dt=with_dt)["attention"].values
                for each in (ours, wide)
            )
            right = np.moveaxis(np.stack(maps), 1, -1)
            name = "with dt" if with_dt else "without dt"
            gaps = [np.abs(right - mine).max(), np.abs(mine - exact).max()]
            print(
                f"| {architecture} | {name} | {np.abs(right).max():.3g} | {gaps[0]:.1e} | {gaps[1]:.1e} |"
            )


if __name__ == "__main__":
    main()
