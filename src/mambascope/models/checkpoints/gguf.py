"""A GGUF file, by way of transformers, which unpacks its quantised weights."""

from pathlib import Path
from typing import Any

import torch

from mambascope.errors import CheckpointError, ModelError

MAGIC = b"GGUF"


def open_gguf(path: Path, dtype: torch.dtype) -> Any:
    """The transformers model in a GGUF file, its weights unpacked to `dtype`."""
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise CheckpointError(f"{path} is no GGUF file; copy or download it again")
    import transformers

    # Newer versions may leave the weights packed where a kernel for that is installed.
    unpack = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": unpack(dequantize=True)} if unpack else {}
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=dtype, local_files_only=True, **options
        )
    except ImportError as error:
        raise ModelError(
            "reading a GGUF file needs one more package: pip install 'mambascope[gguf]'"
        ) from error
    except Exception as error:  # damaged files raise anything from gguf's reader
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} cannot be read as a model ({reason})") from error
