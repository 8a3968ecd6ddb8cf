"""The planted mechanisms: a latch, a shift by the convolution, and a chain of two latches.

Each model reads prompts such as "f2 f0 s3 f1 rel f4 end" and answers with the word that its mechanism assigns to the subject
s3. Its nodes say where the subject's identity has to be, as (site, layer, position); its edges, by which route it gets on.

How to write a new one: docs/recipes/plant-a-mechanism.md. tests/models/test_planted.py holds each to what it says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch

from mambascope.errors import ConfigError
from mambascope.models.config import Mamba1Config
from mambascope.models.language_model import LanguageModel
from mambascope.models.mamba1 import Mamba1Block, Mamba1Mixer
from mambascope.models.planted.features import CLASSES, FILLERS, WIDTH, Vocabulary, rotation
from mambascope.models.planted.layers import INNER, latch, quiet, rotate, shift

N_LAYERS = 6
STATES, TAPS = 4, 4

Node = tuple[str, int, int]


@dataclass(frozen=True)
class Edge:
    """The subject's identity goes from one position to another in one layer, by `state` or by `conv_carry`."""

    layer: int
    source: int
    target: int
    route: str


@dataclass(frozen=True)
class Planted:
    """A model, a prompt with its subject and another subject to swap in, and what is true of it."""

    name: str
    model: LanguageModel
    prompt: str
    subject: str
    other: str
    answer: str
    edges: tuple[Edge, ...]

    def nodes(self, site: str) -> frozenset[tuple[int, int]]:
        """The (layer, position) cells of `resid_post`, `state` or `conv_carry` that carry the subject's identity."""
        if site == "resid_post":
            first = self.edges[0].source
            found = set()
            for layer in range(self.model.config.n_layers):
                passed = [edge for edge in self.edges if edge.layer <= layer]
                found.add((layer, passed[-1].target if passed else first))
            return frozenset(found)
        # The state matters up to the token that reads it; the convolution's memory only before it.
        return frozenset(
            (edge.layer, position)
            for edge in self.edges
            if edge.route == site
            for position in range(edge.source, edge.target + (site == "state"))
        )


def plant(name: str, seed: int) -> Planted:
    """The mechanism of this name, with layers, positions, answers and rotation drawn from the seed.

    Raises ConfigError for an unknown name.
    """
    if name not in MECHANISMS:
        raise ConfigError(f"unknown mechanism {name!r}; there are: {', '.join(MECHANISMS)}")
    return MECHANISMS[name](seed)


def _latch(seed: int) -> Planted:
    """A value is written into one state channel at the subject, and read at the end."""
    draw = Random(f"latch/{seed}")
    words, subject, end = _prompt(draw, fewest=2, most=6)
    layer, order = draw.randrange(1, N_LAYERS - 1), draw.sample(range(CLASSES), CLASSES)
    mechanism = {layer: lambda m: latch(m, "subject", "answer", "end", order)}
    edges = (Edge(layer, subject, end, "state"),)
    return _planted("latch", seed, draw, words, subject, order, mechanism, edges)


def _shift(seed: int) -> Planted:
    """The convolution alone carries the value from the subject to the end, one to three tokens on."""
    draw = Random(f"shift/{seed}")
    lag = draw.randrange(1, TAPS)
    words, subject, end = _prompt(draw, fewest=lag - 1, most=lag - 1)
    layer, order = draw.randrange(1, N_LAYERS - 1), draw.sample(range(CLASSES), CLASSES)
    mechanism = {layer: lambda m: shift(m, "subject", "answer", "end", order, lag)}
    edges = (Edge(layer, subject, end, "conv_carry"),)
    return _planted("shift", seed, draw, words, subject, order, mechanism, edges)


def _chain(seed: int) -> Planted:
    """Two steps: from the subject to the relation in one layer, from there to the end in a later one."""
    draw = Random(f"chain/{seed}")
    words, subject, end = _prompt(draw, fewest=3, most=6)
    relation = draw.randrange(subject + 1, end)
    words[relation] = "rel"
    first, second = sorted(draw.sample(range(1, N_LAYERS - 1), 2))
    one, two = (draw.sample(range(CLASSES), CLASSES) for _ in range(2))
    mechanism = {
        first: lambda m: latch(m, "subject", "middle", "relation", one),
        second: lambda m: latch(m, "middle", "answer", "end", two),
    }
    edges = (Edge(first, subject, relation, "state"), Edge(second, relation, end, "state"))
    order = [two[one[i]] for i in range(CLASSES)]
    return _planted("chain", seed, draw, words, subject, order, mechanism, edges)


MECHANISMS: dict[str, Callable[[int], Planted]] = {
    "latch": _latch,
    "shift": _shift,
    "chain": _chain,
}


def _prompt(draw: Random, fewest: int, most: int) -> tuple[list[str], int, int]:
    """Fillers, a subject, `fewest` to `most` fillers, the end; and where subject and end are."""
    subject = draw.randrange(1, 4)
    end = subject + 1 + draw.randint(fewest, most)
    words = [f"f{draw.randrange(FILLERS)}" for _ in range(end)]
    return [*words, "end"], subject, end


def _planted(
    name: str,
    seed: int,
    draw: Random,
    words: list[str],
    subject: int,
    order: list[int],
    mechanism: dict[int, Callable[[Mamba1Mixer], None]],
    edges: tuple[Edge, ...],
) -> Planted:
    asked, other = draw.sample(range(CLASSES), 2)
    words[subject] = f"s{asked}"
    # The competing answer is another class for every subject.
    vocabulary = Vocabulary(
        tuple((i + draw.randrange(1, CLASSES)) % CLASSES for i in range(CLASSES))
    )
    model = _model(vocabulary, mechanism, seed, f"planted-{name}-{seed}")
    answer = f"a{order[asked]}"
    return Planted(name, model, " ".join(words), f"s{asked}", f"s{other}", answer, edges)


@torch.no_grad()
def _model(
    vocabulary: Vocabulary,
    mechanism: dict[int, Callable[[Mamba1Mixer], None]],
    seed: int,
    name: str,
) -> LanguageModel:
    config = Mamba1Config(
        n_layers=N_LAYERS,
        d_model=WIDTH,
        d_inner=INNER,
        d_state=STATES,
        d_conv=TAPS,
        dt_rank=1,
        vocab_size=len(vocabulary.words),
        tie_embeddings=False,
    )
    model = LanguageModel(config, vocabulary.tokenizer(), name)
    turn, random = rotation(seed), torch.Generator().manual_seed(seed)
    model.embedding.copy_(vocabulary.embedding() @ turn.T)
    assert model.unembedding is not None
    model.unembedding.copy_(vocabulary.unembedding() @ turn.T)
    for key, weight in model.named_parameters():
        if key.endswith("norm.weight"):
            weight.fill_(1.0)
    for layer, block in enumerate(model.blocks):
        assert isinstance(block, Mamba1Block)
        mechanism.get(layer, lambda m: quiet(m, random))(block.mixer)
        rotate(block.mixer, turn)
    return model.requires_grad_(False).eval()
