"""Knockouts of the subject for the last token, all windows of nine layers, against hooks on transformers, on the same weights.

    python benchmarks/knockout.py [--threads 2] [--prompts 64] [--quick]

The naive side is a prompt and a window at a time: a forward pass of the transformers model in which hooks on the window's mixers
recompute their scan in PyTorch, token by token, with a second state that lacks the subject's writes for the last token. It is
timed on some cells, by turns with ours, and both sides' probabilities are compared on them. `ours` is one replay of all
windows of all prompts; `alone` one of a single prompt, as `ms.knockout` does it.
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from _shared import LAYERS, VOCAB, WIDTH, Timing, reference
from torch import Tensor

import mambascope as ms
from mambascope.interventions import BaseRun, Variant, answer_probability, replay

TOKENS, SUBJECT, WINDOW = 12, (3, 4, 5), 9
GOALS = {"Mamba-1": 30.0, "Mamba-2": 150.0}
CELLS = 6


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
        base = BaseRun(self.ids[:prompts].tolist())
        metrics = {"p": answer_probability(self.answers[:prompts])}
        return replay(self.ours, base, self.variants, metrics).scores["p"]

    def hooked(self, prompt: int, start: int) -> float:
        """One cell, by hooks."""
        layers = self.theirs.backbone.layers[start : start + WINDOW]
        recompute = MIXERS[self.architecture]
        hooks = [
            layer.mixer.register_forward_hook(
                lambda mixer, args, kwargs, _: recompute(mixer, _input(args, kwargs)),
                with_kwargs=True,
            )
            for layer in layers
        ]
        try:
            logits = self.theirs(self.ids[prompt : prompt + 1]).logits[0, -1]
        finally:
            for hook in hooks:
                hook.remove()
        return float(logits.softmax(-1)[self.answers[prompt]])


def _input(args: Any, kwargs: Any) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def mamba1(mixer: Any, x: Tensor) -> Tensor:
    """The mixer's output for one prompt, the last token not reading from the subject."""
    u, z = mixer.in_proj(x).chunk(2, dim=-1)
    u = F.silu(mixer.conv1d(u.mT)[..., :TOKENS].mT)[0]
    sizes = [mixer.time_step_rank, mixer.ssm_state_size, mixer.ssm_state_size]
    dt, B, C = mixer.x_proj(u).split(sizes, dim=-1)
    dt = F.softplus(mixer.dt_proj(dt))
    decay = torch.exp(dt[:, :, None] * -torch.exp(mixer.A_log.float()))
    write = (dt * u)[:, :, None] * B[:, None, :]
    y = knocked_out(decay, write, lambda h, t: h @ C[t]) + mixer.D * u
    return mixer.out_proj(y[None] * F.silu(z))


def mamba2(mixer: Any, x: Tensor) -> Tensor:
    """The same for Mamba-2."""
    inner, state, heads = mixer.intermediate_size, mixer.ssm_state_size, mixer.num_heads
    width = inner + 2 * mixer.n_groups * state
    z, xBC, dt = mixer.in_proj(x).split([inner, width, heads], dim=-1)
    xBC = F.silu(mixer.conv1d(xBC.mT)[..., :TOKENS].mT)[0]
    u, B, C = xBC.split([inner, state, state], dim=-1)
    u, dt = u.view(TOKENS, heads, -1), F.softplus(dt[0] + mixer.dt_bias)
    decay = torch.exp(dt * -torch.exp(mixer.A_log.float()))[:, :, None, None]
    write = (dt[:, :, None] * u)[..., None] * B[:, None, None, :]
    y = knocked_out(decay, write, lambda h, t: h @ C[t]) + mixer.D[:, None] * u
    return mixer.out_proj(mixer.norm(y.reshape(1, TOKENS, inner), z))


MIXERS: dict[str, Callable[[Any, Tensor], Tensor]] = {"Mamba-1": mamba1, "Mamba-2": mamba2}


def knocked_out(decay: Tensor, write: Tensor, read: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The scan without its skip; the last token reads from a state without the subject's writes."""
    h = without = torch.zeros_like(write[0])
    out = []
    for t in range(TOKENS):
        h = decay[t] * h + write[t]
        without = decay[t] * without + (0 if t in SUBJECT else write[t])
        out.append(read(h if t < TOKENS - 1 else without, t))
    return torch.stack(out)


@torch.no_grad()
def table(layers: int, prompts: int, repeats: int) -> None:
    print(
        "| case | prompts/s, ours | alone | hooks, s per prompt | times faster (goal) | alone | largest gap |"
    )
    print("|---|---|---|---|---|---|---|")
    for architecture, goal in GOALS.items():
        setting = Setting(architecture, layers, prompts)
        ours = setting.replayed(prompts)
        draw = random.Random(0)
        cells = [(draw.randrange(prompts), draw.choice(setting.starts)) for _ in range(CELLS)]
        gap = max(abs(setting.hooked(p, s) - ours[s, p]) for p, s in cells)
        calls = [
            lambda setting=setting: setting.replayed(prompts),
            lambda setting=setting: setting.replayed(1),
            lambda setting=setting, cells=cells: [setting.hooked(p, s) for p, s in cells],
        ]
        together, alone, naive = Timing.of(calls, repeats).medians
        theirs = naive / CELLS * len(setting.starts)
        print(
            f"| {architecture} | {prompts / together:.1f} | {1 / alone:.1f} | {theirs:.2f} "
            f"| {theirs * prompts / together:.0f} ({goal:g}) | {theirs / alone:.0f} | {gap:.1e} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="ten layers, eight prompts")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    layers, prompts, repeats = (10, 8, 1) if chosen.quick else (LAYERS, chosen.prompts, 3)
    print(
        f"{layers} layers, {prompts} prompts, {chosen.threads} threads, torch {torch.__version__}\n"
    )
    table(layers, prompts, repeats)


if __name__ == "__main__":
    main()
