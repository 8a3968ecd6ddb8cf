"""The tokenizer of the atlas models: byte-level BPE of 4,096 tokens, made by scripts/train_tokenizer.py."""

from importlib.resources import as_file
from typing import TYPE_CHECKING

from mambascope.data.facts import atlas_file

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer() -> "PreTrainedTokenizerBase":
    """The bundled tokenizer; `<|endoftext|>` ends every document."""
    from transformers import AutoTokenizer

    with as_file(atlas_file("tokenizer")) as folder:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
