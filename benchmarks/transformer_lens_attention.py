"""Effective attention of a random model by TransformerLens 4; run by attention_agreement.py in an environment of its own.

    PYTHON transformer_lens_attention.py FOLDER

FOLDER holds the random model (model/, as transformers saves it) and ids.json. Writes maps.pt: for each layer the map with dt and
the one without, (units, targets, sources). Needs torch, transformers and transformer-lens, and nothing of this project.
"""

import json
import sys
from pathlib import Path

import torch
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
from transformers import AutoModelForCausalLM


@torch.no_grad()
def main() -> None:
    folder = Path(sys.argv[1])
    ids = torch.tensor([json.loads((folder / "ids.json").read_text())])
    model = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    model.config.use_cache = False
    bridge = build_bridge_from_module(model, type(model).__name__, hf_config=model.config)
    for block in bridge.blocks:
        # transformers 5 uses the weights of dt_proj without calling it, so that hook fires in the bridge's own scan only.
        block.mixer.eager_scan = True
    _, cache = bridge.run_with_cache(ids)
    maps = {
        f"{layer} {with_dt}": cache.compute_ssm_effective_attention(
            layer=layer, include_dt_scaling=with_dt
        )[0].contiguous()
        for layer in range(model.config.num_hidden_layers)
        for with_dt in (True, False)
    }
    torch.save(maps, folder / "maps.pt")


if __name__ == "__main__":
    main()
