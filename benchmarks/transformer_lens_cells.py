"""Cells of a causal-trace grid by TransformerLens 4's bridge; run by replay.py in an environment of its own.

    PYTHON transformer_lens_cells.py FOLDER

FOLDER holds the random model (model/, as transformers saves it) and grid.json: ids, subject, samples, answer, threads and the
cells; noise.pt is the noise. Prints one JSON object: the seconds and the score of each cell, after a warm-up of two cells.
Needs torch, transformers and transformer-lens, and nothing of this project.
"""

import json
import sys
import time
from pathlib import Path

import torch
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
from transformers import AutoModelForCausalLM

WARM = 2


@torch.no_grad()
def main() -> None:
    folder = Path(sys.argv[1])
    grid = json.loads((folder / "grid.json").read_text())
    noise = torch.load(folder / "noise.pt", weights_only=True)
    torch.set_num_threads(grid["threads"])
    model = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    model.config.use_cache = False
    bridge = build_bridge_from_module(model, type(model).__name__, hf_config=model.config)
    subject = slice(*grid["subject"])
    ids = torch.tensor([grid["ids"]])
    rows = ids.repeat(grid["samples"], 1)
    names = [f"blocks.{layer}.hook_out" for layer in range(model.config.num_hidden_layers)]
    _, cache = bridge.run_with_cache(ids, names_filter=lambda name: name in names)

    def corrupt(value: torch.Tensor, hook: object) -> torch.Tensor:
        value = value.clone()
        value[:, subject] += noise
        return value

    def cell(layer: int, position: int) -> float:
        def restore(value: torch.Tensor, hook: object) -> torch.Tensor:
            value = value.clone()
            value[:, position] = cache[names[layer]][0, position]
            return value

        hooks = [("embed.hook_out", corrupt), (names[layer], restore)]
        logits = bridge.run_with_hooks(rows, return_type="logits", fwd_hooks=hooks)
        return float(logits[:, -1].softmax(-1)[:, grid["answer"]].mean())

    seconds, scores = [], []
    for index, (layer, position) in enumerate([*grid["cells"][:WARM], *grid["cells"]]):
        started = time.perf_counter()
        score = cell(layer, position)
        if index >= WARM:
            seconds.append(time.perf_counter() - started)
            scores.append(score)
    print(json.dumps({"seconds": seconds, "scores": scores}))


if __name__ == "__main__":
    main()
