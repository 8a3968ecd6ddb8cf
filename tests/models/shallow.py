"""Bundled models cut short: their first layers, trained weights and tokenizer, for laws that hold at any depth."""

import mambascope as ms
from mambascope.models.language_model import LanguageModel


def first_layers(name: str, count: int = 4, dtype: str = "float64") -> LanguageModel:
    """The bundled model's embedding, first `count` layers and head; ready to run, and named as the whole is."""
    whole = ms.load(name, dtype=dtype)
    config = whole.config.model_copy(update={"n_layers": count})
    model = LanguageModel(config, whole.tokenizer, name).to(whole.dtype)
    weights = whole.state_dict()
    model.load_state_dict({key: weights[key] for key in model.state_dict()})
    return model.requires_grad_(False).eval()
