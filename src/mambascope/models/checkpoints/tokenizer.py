"""The tokenizer that lies beside a model's weights, if any, or that is named instead of it."""

from pathlib import Path
from typing import Any

from mambascope.errors import CheckpointError
from mambascope.models.checkpoints.folder import read_json

# Any of these means that the folder has a tokenizer.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def load_tokenizer(folder: Path, model_type: str | None) -> Any:
    """The folder's tokenizer, or None. Code that a checkpoint brings with it is never run.

    A tokenizer.json says everything by itself; transformers is asked where a tokenizer_config.json names the class.
    """
    present = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    described = model_type is not None and "tokenizer_config.json" in present
    complete = "tokenizer.json" in present
    if not present or (model_type is None and not complete):
        return None
    try:
        return _bare(folder / "tokenizer.json") if complete and not described else _auto(folder)
    except Exception as error:  # tokenizers raises plain Exception, transformers nearly anything
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be read ({_first_line(error)}); mend or remove "
            f"{', '.join(present)} (without a tokenizer the model works by token ids)"
        ) from error


def tokenizer_at(path: Path) -> Any:
    """The tokenizer in a folder, which need hold no model, or in a tokenizer.json; CheckpointError if there is none."""
    if path.is_dir():
        config = path / "config.json"
        model_type = read_json(config).get("model_type") if config.is_file() else ""
        found = load_tokenizer(path, model_type)
        if found is None:
            raise CheckpointError(f"{path} holds no tokenizer; it needs a tokenizer.json")
        return found
    try:
        return _bare(path)
    except Exception as error:  # as above
        raise CheckpointError(
            f"{path} cannot be read as a tokenizer.json ({_first_line(error)}); give such a file, or the folder of a tokenizer"
        ) from error


def load_gguf_tokenizer(path: Path) -> Any:
    """The tokenizer inside a GGUF file; CheckpointError if it cannot be read."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # damaged merges make tokenizers panic, which is no Exception
        raise CheckpointError(
            f"the tokenizer in {path} cannot be read ({_first_line(error)})"
        ) from error


def _auto(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _bare(path: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_file=str(path))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
