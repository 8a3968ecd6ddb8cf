"""Train the atlas tokenizer: byte-level BPE of 4,096 tokens, on documents of the training mix only.

Byte-level: any text is encoded without an unknown token and decoded to the same text. Passages and ledgers are there so
that each part of an invented name is one token;
facts count several times, as they do in training, so that the names in them take few tokens, capitals most of all:
they are what demonstrations ask for, and an answer of one token is the easiest to read.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mambascope.data.corpus import (
    encyclopedia_documents,
    fact_documents,
    generated,
    passage_documents,
)
from mambascope.data.lists import ledger

FOLDER = Path(__file__).parents[1] / "src/mambascope/data/atlas/tokenizer"
VOCABULARY = 4096
PASSAGES = LEDGERS = 2000
FACT_REPEATS = 6
CAPITAL_REPEATS = 12
ENCYCLOPEDIA_EVERY = 4
END = "<|endoftext|>"
CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": END,
    "eos_token": END,
    "pad_token": END,
    "clean_up_tokenization_spaces": False,
    "add_prefix_space": False,
    "model_max_length": 2048,
}


def trained_tokenizer() -> Tokenizer:
    """The tokenizer; the same documents always give the same one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    facts = list(fact_documents())
    capitals = [document for document in facts if "capital" in document.text]
    sentences = list(encyclopedia_documents())[::ENCYCLOPEDIA_EVERY]
    invented = [*passage_documents(PASSAGES), *generated(ledger, LEDGERS)]
    documents = [*facts * FACT_REPEATS, *capitals * CAPITAL_REPEATS, *invented, *sentences]
    tokenizer.train_from_iterator((document.text for document in documents), trainer)
    return tokenizer


def main() -> None:
    """Write the folder that `transformers.AutoTokenizer` reads."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    trained_tokenizer().save(str(FOLDER / "tokenizer.json"))
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    print(f"wrote {FOLDER.name}/ with {VOCABULARY} tokens")


if __name__ == "__main__":
    main()
