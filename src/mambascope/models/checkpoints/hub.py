"""A model's files from the Hugging Face hub, in the cache that all its tools share.

huggingface_hub reads HF_TOKEN, HF_HOME and HF_HUB_OFFLINE itself; a model in the cache needs no network.
"""

from pathlib import Path
from typing import Any

from mambascope.errors import ModelError
from mambascope.models.checkpoints.folder import BIN, INDEX, SAFETENSORS, has_weights

# Weights are taken once: safetensors if there are any, and nothing of what else a repository holds.
DESCRIPTION = ["config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json"]
VOCABULARY = ["vocab.json", "merges.txt"]
AS_SAFETENSORS = [SAFETENSORS, SAFETENSORS + INDEX, "model-*.safetensors"]
AS_BIN = [BIN, BIN + INDEX, "pytorch_model-*.bin"]


def download(hub_id: str) -> Path:
    """The folder of a hub model's files; ModelError if there is no such model or it cannot be had."""
    folder = _snapshot(hub_id, DESCRIPTION + VOCABULARY + AS_SAFETENSORS)
    return folder if has_weights(folder) else _snapshot(hub_id, DESCRIPTION + VOCABULARY + AS_BIN)


def download_tokenizer(hub_id: str) -> Path:
    """The folder of the files that describe a hub model and its tokenizer, without the weights; ModelError as `download`."""
    return _snapshot(hub_id, DESCRIPTION + VOCABULARY)


def _snapshot(hub_id: str, patterns: list[str]) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        found: Any = snapshot_download(hub_id, allow_patterns=patterns, ignore_patterns=["*/*"])
    except errors.GatedRepoError as error:
        raise ModelError(
            f"the model {hub_id!r} is gated: accept its conditions on https://huggingface.co/{hub_id} and "
            "set HF_TOKEN to a token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {hub_id!r}; check the name, or set HF_TOKEN if it is private"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelError(
            f"the model {hub_id!r} is not in the cache and the hub cannot be reached; go online (and unset "
            "HF_HUB_OFFLINE), or give the path of a folder that holds the model"
        ) from error
    except errors.HFValidationError as error:
        raise ModelError(f"{hub_id!r} can be no hub id, which looks like 'owner/name'") from error
    except errors.HfHubHTTPError as error:
        raise ModelError(_http_reason(hub_id, error)) from error
    except OSError as error:
        raise ModelError(f"the model {hub_id!r} could not be downloaded ({error})") from error
    return Path(found)


def _http_reason(hub_id: str, error: Any) -> str:
    status = error.response.status_code
    if status == 401:
        return f"the hub does not accept the token for {hub_id!r}; set HF_TOKEN to a valid one"
    return f"the hub answered {status} for the model {hub_id!r}; try again later"
