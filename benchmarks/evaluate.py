"""Batched greedy decoding against transformers' generate on the same random weights, and the memory that it takes.

    python benchmarks/evaluate.py [--quick] [--threads 2]

Tokens per second are those after the first token: what the prompts take is subtracted. `reading` is the share of a step in which
the weights are read once from memory, which no decoding in float32 can undercut. Figures from a busy machine are worth little.
"""

import argparse
import gc
from collections.abc import Callable
from typing import Any

import torch
from _shared import LAYERS, VOCAB, WIDTH, Timing, peak_memory, reference
from torch import nn

import mambascope as ms

PROMPT, ROWS, GOAL = 12, 16, 2.5


def without_prompt(decode: Callable[[int], Any], count: int) -> list[Callable[[], Any]]:
    """Decoding of `count` tokens and of one, whose difference in time is that of count - 1 tokens of each prompt."""
    return [lambda: decode(count), lambda: decode(1)]


def reading_of(model: ms.LanguageModel) -> Callable[[], Any]:
    """Read every weight that a token passes through, once."""
    blocks = [weight.detach().view(-1) for weight in model.blocks.parameters()]
    used = [*blocks, (model.embedding if model.unembedding is None else model.unembedding).detach()]
    return lambda: [weight.sum() for weight in used]


@torch.no_grad()
def speed(architecture: str, layers: int, tokens: int, repeats: int) -> ms.LanguageModel:
    """Prints one line of the table; gives the model."""
    theirs: nn.Module = reference(architecture, layers, WIDTH, VOCAB).eval()
    ours = ms.load(theirs)
    ids = torch.randint(0, VOCAB, (ROWS, PROMPT))
    generate: Any = theirs.generate

    def slow(count: int) -> torch.Tensor:
        plain = dict(do_sample=False, use_cache=True, pad_token_id=0, eos_token_id=None)
        return generate(ids, min_new_tokens=count, max_new_tokens=count, **plain)[:, PROMPT:]

    def quick(count: int) -> list[list[int]]:
        made = ours.generate(ids, max_new_tokens=count)
        assert not isinstance(made, str)
        return [[*row] for row in made]  # pyright: ignore[reportReturnType]

    same = (slow(tokens) == torch.tensor(quick(tokens))).float().mean().item()
    calls = [*without_prompt(quick, tokens), *without_prompt(slow, tokens), reading_of(ours)]
    all_of, first, their_all, their_first, read = Timing.of(calls, repeats).medians
    step, their_step = (all_of - first) / (tokens - 1), (their_all - their_first) / (tokens - 1)
    print(
        f"| {architecture}, B {ROWS} | {ROWS / step:,.0f} | {ROWS / their_step:,.0f} "
        f"| {their_step / step:.1f} ({GOAL:g}) | {step * 1e3:.0f} ms | {read / step:.0%} | {same:.0%} |",
        flush=True,
    )
    return ours


def memory(model: ms.LanguageModel, lengths: tuple[int, int]) -> None:
    """Memory beyond the model, for short and for long continuations."""
    ids = torch.randint(0, VOCAB, (ROWS, PROMPT))
    model.generate(ids, max_new_tokens=2)
    print("\n| tokens decoded | peak beyond the model |\n|---|---|")
    for count in lengths:
        gc.collect()
        _, peak = peak_memory(lambda count=count: model.generate(ids, max_new_tokens=count))
        print(f"| {count} | {peak / 2**20:.0f} MiB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the layers, one repeat")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    layers, repeats, tokens = (LAYERS // 4, 1, 8) if chosen.quick else (LAYERS, 3, 32)
    print(f"{layers} layers, {chosen.threads} threads, torch {torch.__version__}\n")
    print(
        "| case | ours, tokens/s | transformers, tokens/s | times faster (goal) | step | reading | same tokens |"
    )
    print("|---|---|---|---|---|---|---|")
    model = speed("Mamba-1", layers, tokens, repeats)
    speed("Mamba-2", layers, tokens, repeats)
    memory(model, (tokens, 8 * tokens))


if __name__ == "__main__":
    main()
