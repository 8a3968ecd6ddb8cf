"""What a planted model's residual stream means: one direction per feature, and the vocabulary that uses them.

The directions are those of a random orthogonal matrix, so that no single channel of the residual shows a feature.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

CLASSES = 4
FILLERS = 6
SIZE = 3.0
GROUPS = ("subject", "middle", "answer", "other", "aside")
FLAGS = ("one", "relation", "end")
WIDTH = CLASSES * len(GROUPS) + len(FLAGS) + FILLERS


@dataclass(frozen=True)
class Vocabulary:
    """The words; `other[i]` is the competing answer that subject i carries along."""

    other: tuple[int, ...]

    @property
    def words(self) -> list[str]:
        """Every word, in the order of its id."""
        subjects, answers = ([f"{kind}{i}" for i in range(CLASSES)] for kind in "sa")
        return [*subjects, *answers, "rel", "end", *(f"f{i}" for i in range(FILLERS))]

    def embedding(self) -> Float[Tensor, "V features"]:
        """Each word's features. Every word carries `one`; a subject itself and its competing answer."""
        words = self.words
        table = torch.zeros(len(words), WIDTH)
        table[:, index("one")] = 1.0
        for i in range(CLASSES):
            table[i, index("subject", i)] = SIZE
            table[i, index("other", self.other[i])] = SIZE
        table[words.index("rel"), index("relation")] = SIZE
        table[words.index("end"), index("end")] = SIZE
        for i in range(FILLERS):
            table[words.index(f"f{i}"), WIDTH - FILLERS + i] = SIZE
        return table

    def unembedding(self) -> Float[Tensor, "V features"]:
        """An answer's logit is its feature in the group `answer`."""
        table = torch.zeros(len(self.words), WIDTH)
        for i in range(CLASSES):
            table[self.words.index(f"a{i}"), index("answer", i)] = 4.0
        return table

    def tokenizer(self) -> object:
        """Words to ids, as a transformers tokenizer."""
        from transformers import PreTrainedTokenizerFast

        words = {word: number for number, word in enumerate(self.words)}
        plain = Tokenizer(models.WordLevel(words, unk_token="f0"))
        plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return PreTrainedTokenizerFast(tokenizer_object=plain)


def index(name: str, i: int = 0) -> int:
    """The place of a flag, or of the i-th feature of a group."""
    if name in FLAGS:
        return CLASSES * len(GROUPS) + FLAGS.index(name)
    return CLASSES * GROUPS.index(name) + i


def rotation(seed: int) -> Float[Tensor, "features features"]:
    """A random orthogonal matrix, uniformly distributed."""
    random = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=random, dtype=torch.float64))
    return (q * r.diagonal().sign()).float()
