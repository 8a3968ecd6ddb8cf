"""What a method needs of each layer of one prompt, read in as few runs as a bounded memory allows."""

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from mambascope.errors import PromptError
from mambascope.models.kernels import without_new_copies
from mambascope.models.language_model import LanguageModel
from mambascope.models.prompts import PromptLike, to_ids

RECORDED = 2**24  # numbers that one run may record, unless a single layer has more

Reading = dict[str, Tensor]


def one_prompt(model: LanguageModel, prompt: PromptLike) -> list[int]:
    """The prompt's token ids; PromptError unless it is exactly one."""
    rows = to_ids(prompt, model.tokenizer, model.config.vocab_size)
    if len(rows) > 1:
        raise PromptError(f"one prompt is wanted here, but {len(rows)} were given")
    return rows[0]


def read_layers(
    model: LanguageModel, ids: list[int], layers: Sequence[int], sites: Sequence[str]
) -> Iterator[tuple[int, Reading]]:
    """Each layer with the sites' values, (T, *axes); half precision comes as float32."""
    each = len(ids) * sum(
        prod(len(ids) if size is None else size for size in model.sites[name].shape)
        for name in sites
    )
    at_once = max(1, RECORDED // each)
    for begin in range(0, len(layers), at_once):
        group = list(layers[begin : begin + at_once])
        with (
            without_new_copies()
        ):  # of a large model they would be more than all that is computed here
            run = model.run([ids], record=[(name, group) for name in sites], logits="none")
        for layer in group:
            yield layer, {name: _wide(run[name, layer][0]) for name in sites}


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
