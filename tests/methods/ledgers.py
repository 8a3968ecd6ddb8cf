"""Ledgers by their definition: mixers written out token by token in float64, one coalition of routes after the other."""

from itertools import combinations, permutations

import numpy as np
import torch
import torch.nn.functional as F

import mambascope as ms
from mambascope.results.ledger import ROUTES

IDS = [3, 1, 4, 1, 5, 9, 2]
ANSWER = 6
EVERYTHING = frozenset(ROUTES)


def subsets():
    return [frozenset(s) for k in range(len(ROUTES) + 1) for s in combinations(ROUTES, k)]


def mixer_output(model, layer, norm, free, sources, target, coalition):
    """What a mixer gives out at the target: norm (T, D) enters it, free (D,) enters a source-free target's."""
    mixer, config = model.blocks[layer].mixer, model.blocks[layer].mixer.config
    taps, inner, state = mixer.conv_weight.shape[1], config.d_inner, config.d_state
    is_first = config.architecture == "mamba1"

    def projected(x):
        sizes = [inner, inner] if is_first else [inner, config.conv_width, config.n_heads]
        parts = (mixer.in_proj.weight @ x).split(sizes)
        return (parts[0], parts[1], None) if is_first else (parts[1], parts[0], parts[2])

    def convolved(now, own):
        out = mixer.conv_bias + mixer.conv_weight[:, -1] * own
        for back in range(1, min(now, taps - 1) + 1):
            if not ("conv" in coalition and now - back in sources):
                out = out + mixer.conv_weight[:, taps - 1 - back] * projected(norm[now - back])[0]
        return F.silu(out)

    read = h = torch.zeros(model.sites["state"].shape, dtype=torch.float64)
    for now in range(target + 1):
        x, _, step = projected(free if now == target and "query" in coalition else norm[now])
        if is_first:
            u = convolved(now, x)
            low, B, C = (mixer.x_proj.weight @ u).split([config.dt_rank, state, state])
            if config.bcdt_norm_eps is not None:
                low, B, C = (
                    v / (v.square().mean() + config.bcdt_norm_eps).sqrt() for v in (low, B, C)
                )
            dt = F.softplus(mixer.dt_proj.weight @ low + mixer.dt_proj.bias)
            write, decay = (dt * u)[:, None] * B, (dt[:, None] * -mixer.A_log.exp()).exp()
        else:
            groups, heads = config.n_groups, config.n_heads
            u, B, C = convolved(now, x).split([inner, groups * state, groups * state])
            B, C = (v.view(groups, state).repeat_interleave(heads // groups, 0) for v in (B, C))
            dt = F.softplus(step + mixer.dt_bias)
            write = (dt[:, None] * u.view(heads, -1))[:, :, None] * B[:, None]
            decay = (dt * -mixer.A_log.exp()).exp()[:, None, None]
        if "state" in coalition and now in sources:
            write = torch.zeros_like(write)
        h = decay * h + write
        read = h @ C if is_first else (h * C[:, None]).sum(-1)
    u = convolved(target, projected(free if "skip" in coalition else norm[target])[0])[:inner]
    y = read.flatten() + mixer.D.repeat_interleave(inner // len(mixer.D)) * u
    y = y * F.silu(projected(free if "gate" in coalition else norm[target])[1])
    if not is_first:
        y = y.view(config.n_groups, -1)
        y = y * (y.square().mean(1, keepdim=True) + config.norm_eps).rsqrt()
        y = y.flatten() * mixer.norm.weight
    return mixer.out_proj.weight @ y


def score(model, edits=()):
    logits = model.run([IDS], edits=list(edits), logits="last").logits
    return logits.log_softmax(-1)[0, ANSWER].item()


def brute_force(model, sources, target):
    """By coalition the fall in each layer, and the fall with every layer source-free."""
    depth, at = model.config.n_layers, {"site": "mixer_out", "positions": target}
    plain = model.run([IDS], record=["norm"])
    replaced, worths, before = [], {}, score(model)
    for layer in range(depth):
        free = model.run([IDS], edits=replaced, record=["norm"])["norm", layer][0, target]
        norm = plain["norm", layer][0]
        outs = {c: mixer_output(model, layer, norm, free, sources, target, c) for c in subsets()}
        for coalition, out in outs.items():
            edit = ms.Edit(**at, layers=layer, value=out)
            worths[layer, coalition] = before - score(model, [edit])
        replaced.append(ms.Edit(**at, layers=layer, value=outs[EVERYTHING]))
    return worths, before - score(model, replaced)


def shapley_by_orders(worth, route):
    """What a route adds to those that came before it, over all orders in which routes can come."""
    added = []
    for order in permutations(ROUTES):
        before = frozenset(order[: order.index(route)])
        added.append(worth[before | {route}] - worth[before])
    return np.mean(added)
