"""Mode mean: what stands in a source's place is a mean over the tokens of a reference text, by layer."""

import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.data.corpus import encyclopedia_documents
from mambascope.errors import PromptError
from mambascope.interventions.budget import bytes_of
from mambascope.models.language_model import LanguageModel
from mambascope.models.prompts import to_ids

RECORDED = 2**28  # bytes
CHARACTERS = 1500
Means = dict[int, Float[Tensor, "..."]]


def default_reference() -> str:
    """The first sentences of the bundled encyclopedia, about 1,500 characters of them."""
    text = ""
    for document in encyclopedia_documents():
        text = f"{text} {document.text}".strip()
        if len(text) >= CHARACTERS:
            break
    return text


@torch.no_grad()
def site_means(model: LanguageModel, site: str, text: str) -> Means:
    """The mean of a site over all tokens of a text, by layer, in float32 or wider; a few layers are recorded at a time."""
    ids = _reference_ids(model, text)
    at_once = max(1, RECORDED // (bytes_of(model, site) * len(ids)))
    every, found = range(model.config.n_layers), {}
    for first in every[::at_once]:
        layers = [*every[first : first + at_once]]
        run = model.run([ids], record=[(site, layers)], logits="none")
        for layer in layers:
            value = run[site, layer][0]
            found[layer] = value.to(torch.promote_types(value.dtype, torch.float32)).mean(0)
    return found


def _reference_ids(model: LanguageModel, text: str) -> list[int]:
    """The tokens of the reference text; PromptError, which says that it is not the prompt, if it cannot be run."""
    try:
        (ids,) = to_ids(text, model.tokenizer, model.config.vocab_size)
        model.check_length(len(ids))
    except PromptError as error:
        raise PromptError(f"the reference text of mode 'mean' cannot be run: {error}") from error
    return ids
