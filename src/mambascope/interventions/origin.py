"""What made a result, beside its configuration."""

import json

from mambascope.models.checkpoints.hash import weights_hash
from mambascope.models.language_model import LanguageModel
from mambascope.results.manifest import versions


def origin_of(model: LanguageModel) -> dict[str, object]:
    """The attributes that every result of a model has: its name, the hash of its weights, and the versions."""
    return {
        "model": model.name,
        "weights": weights_hash(model),
        "versions": json.dumps(versions()),
    }
