"""Knockouts of the subject for the last token on a model of transformers and on ours with the same random weights.

Built so that any side can be timed on the same cells, a cell being one prompt and one window, and compared on them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from _shared import VOCAB, WIDTH, reference
from torch import Tensor

import mambascope as ms
from mambascope.interventions import BaseRun, Variant, answer_probability, replay

TOKENS, SUBJECT, WINDOW = 12, (3, 4, 5), 9
Sources = tuple[int, ...]


@dataclass
class Setting:
    """One model on both sides, random prompts, and every window."""

    architecture: str
    layers: int
    prompts: int
    theirs: Any = field(init=False)
    ours: ms.LanguageModel = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.theirs = reference(self.architecture, self.layers, WIDTH, VOCAB).eval()
        self.ours = ms.load(self.theirs)
        self.ids = torch.randint(0, VOCAB, (self.prompts, TOKENS))
        logits = self.ours.run(self.ids, logits="last").logits
        assert logits is not None
        self.answers: list[int] = logits.argmax(-1).tolist()
        cut = ms.Cut(sources=SUBJECT, targets=-1)
        self.starts = range(self.layers - WINDOW + 1)
        self.variants = [
            Variant(cuts=(replace(cut, layers=range(s, s + WINDOW)),)) for s in self.starts
        ]

    def replayed(self, prompts: int) -> Any:
        """The answer's probability, (windows, prompts), of the first prompts."""
        return self._replayed(self.ours, range(prompts))

    def exact(self, prompts: Sequence[int]) -> Any:
        """The same of these prompts in float64, where products and scans follow their definitions."""
        return self._replayed(ms.load(self.theirs, dtype="float64"), prompts)

    def _replayed(self, model: ms.LanguageModel, prompts: Sequence[int]) -> Any:
        base = BaseRun([self.ids[prompt].tolist() for prompt in prompts])
        metrics = {"p": answer_probability([self.answers[prompt] for prompt in prompts])}
        return replay(model, base, self.variants, metrics).scores["p"]

    def hooked(self, prompt: int, start: int) -> float:
        """One cell, by hooks."""
        with self._hooks(range(start, start + WINDOW)):
            return self.probability(prompt)

    def bare(self, prompt: int, start: int) -> float:
        """One cell, the same PyTorch in place of all mixers."""
        with self._replaced(range(start, start + WINDOW)):
            return self.probability(prompt)

    def probability(self, prompt: int) -> float:
        """The answer's probability as the transformers model now is."""
        logits = self.theirs(self.ids[prompt : prompt + 1], use_cache=False).logits[0, -1]
        return float(logits.softmax(-1)[self.answers[prompt]])

    @contextmanager
    def _hooks(self, window: range) -> Iterator[None]:
        recompute = MIXERS[self.architecture]
        hooks = [
            self.theirs.backbone.layers[layer].mixer.register_forward_hook(
                lambda mixer, args, kwargs, _: recompute(mixer, _input(args, kwargs), SUBJECT),
                with_kwargs=True,
            )
            for layer in window
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def _replaced(self, window: range) -> Iterator[None]:
        recompute = MIXERS[self.architecture]
        mixers = [layer.mixer for layer in self.theirs.backbone.layers]
        for number, mixer in enumerate(mixers):
            sources = SUBJECT if number in window else ()
            mixer.forward = lambda *args, mixer=mixer, sources=sources, **kwargs: recompute(
                mixer, _input(args, kwargs), sources
            )
        try:
            yield
        finally:
            for mixer in mixers:
                del mixer.forward


def _input(args: Any, kwargs: Any) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def mamba1(mixer: Any, x: Tensor, sources: Sources) -> Tensor:
    """The mixer's output for one prompt, the last token not reading from the sources."""
    u, z = mixer.in_proj(x).chunk(2, dim=-1)
    u = F.silu(mixer.conv1d(u.mT)[..., :TOKENS].mT)[0]
    sizes = [mixer.time_step_rank, mixer.ssm_state_size, mixer.ssm_state_size]
    dt, B, C = mixer.x_proj(u).split(sizes, dim=-1)
    dt = F.softplus(mixer.dt_proj(dt))
    decay = torch.exp(dt[:, :, None] * -torch.exp(mixer.A_log.float()))
    write = (dt * u)[:, :, None] * B[:, None, :]
    y = knocked_out(decay, write, sources, lambda h, t: h @ C[t]) + mixer.D * u
    return mixer.out_proj(y[None] * F.silu(z))


def mamba2(mixer: Any, x: Tensor, sources: Sources) -> Tensor:
    """The same for Mamba-2."""
    inner, state, heads = mixer.intermediate_size, mixer.ssm_state_size, mixer.num_heads
    width = inner + 2 * mixer.n_groups * state
    z, xBC, dt = mixer.in_proj(x).split([inner, width, heads], dim=-1)
    xBC = F.silu(mixer.conv1d(xBC.mT)[..., :TOKENS].mT)[0]
    u, B, C = xBC.split([inner, state, state], dim=-1)
    u, dt = u.view(TOKENS, heads, -1), F.softplus(dt[0] + mixer.dt_bias)
    decay = torch.exp(dt * -torch.exp(mixer.A_log.float()))[:, :, None, None]
    write = (dt[:, :, None] * u)[..., None] * B[:, None, None, :]
    y = knocked_out(decay, write, sources, lambda h, t: h @ C[t]) + mixer.D[:, None] * u
    return mixer.out_proj(mixer.norm(y.reshape(1, TOKENS, inner), z))


MIXERS: dict[str, Callable[[Any, Tensor, Sources], Tensor]] = {"Mamba-1": mamba1, "Mamba-2": mamba2}


def knocked_out(
    decay: Tensor, write: Tensor, sources: Sources, read: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """The scan without its skip; the last token reads from a state without the sources' writes, if there are any."""
    h = without = torch.zeros_like(write[0])
    out = []
    for t in range(TOKENS):
        h = decay[t] * h + write[t]
        if sources:
            without = decay[t] * without + (0 if t in sources else write[t])
        out.append(read(without if sources and t == TOKENS - 1 else h, t))
    return torch.stack(out)
