"""Mamba Knockout as it was published, slowly: transformers' model, whose mixers in a window are computed anew from alpha[t, s].

Written from what the published code does, not from ours: a mask names the features that keep the source, and a window begins
with its layer.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F


def roles(tokenizer, prompt, subject):
    """The positions of each token role, by the lengths of the decoded beginnings of the prompt."""
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    begin = tokenizer.decode(ids).index(subject)
    ends = [len(tokenizer.decode(ids[: i + 1])) for i in range(len(ids))]
    first = next(i for i, end in enumerate(ends) if end > begin)
    last = next(i for i, end in enumerate(ends) if end >= begin + len(subject))
    own, every = list(range(first, last + 1)), list(range(len(ids)))
    return ids, {
        "first": [0],
        "last": every[-1:],
        "subject": own,
        "relation": [i for i in every if i not in own],
        "context": every[:first],
    }


def kept_features(mixer, kept):
    """1 for the features that keep the source."""
    norms = (-mixer.A_log.exp()).exp().reshape(len(mixer.A_log), -1).sum(1)
    mask = torch.zeros(len(norms))
    if kept != "ALL":
        mask[norms.argsort(descending=kept == "SLOW_DECAY")[: len(norms) // 3]] = 1
    return mask


def scan_inputs(mixer, x):
    """u (T, F, P), dt (T, F), A (F, N), B and C (T, N), gate (T, E): Mamba-1's channels are features of P = 1."""
    wide, length = mixer.intermediate_size, len(x)
    mamba2 = hasattr(mixer, "num_heads")
    parts = [wide, mixer.conv_dim, mixer.num_heads] if mamba2 else [wide, wide]
    cut = mixer.in_proj(x).split(parts, -1)
    entering, gate = (cut[1], cut[0]) if mamba2 else cut
    left = F.silu(mixer.conv1d(entering.T[None])[0, :, :length].T)
    n = mixer.ssm_state_size
    if mamba2:
        u, B, C = left.split([wide, n, n], -1)
        dt, A = F.softplus(cut[2] + mixer.dt_bias), -mixer.A_log.exp()[:, None]
        return u.view(length, mixer.num_heads, -1), dt, A.expand(-1, n), B, C, gate
    low, B, C = mixer.x_proj(left).split([mixer.time_step_rank, n, n], -1)
    return left[..., None], F.softplus(mixer.dt_proj(low)), -mixer.A_log.exp(), B, C, gate


def knocked_out_mixer(mixer, x, sources, targets, kept):
    """The mixer's output (T, D) when the targets do not read from the sources, but in the kept features."""
    u, dt, A, B, C, gate = (value.double() for value in scan_inputs(mixer, x))
    mask = kept_features(mixer, kept).double()[:, None]
    y = mixer.D.double()[:, None] * u
    for t in range(len(x)):
        for s in range(t + 1):
            decay = (A * dt[s + 1 : t + 1].sum(0)[:, None]).exp()
            alpha = (decay * (dt[s][:, None] * B[s])) @ C[t]
            hidden = s in sources and t in targets
            y[t] += alpha[:, None] * u[s] * (mask if hidden else 1)
    y, gate = y.reshape(len(x), -1).float(), gate.float()
    return mixer.out_proj(
        mixer.norm(y[None], gate[None])[0] if hasattr(mixer, "norm") else y * F.silu(gate)
    )


@contextmanager
def hooks(model, layers, sources, targets, kept):
    def hook(mixer, given, named, _):
        x = given[0] if given else named["hidden_states"]
        return knocked_out_mixer(mixer, x[0], sources, targets, kept)[None]

    handles = [
        model.backbone.layers[layer].mixer.register_forward_hook(hook, with_kwargs=True)
        for layer in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def probabilities(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0, -1].softmax(-1)


def is_word(tokenizer, token):
    """Whether the token's text, with the space that it begins with, is this token again."""
    text = tokenizer.decode([token])
    return text[:1] == " " and text[1:].isalnum() and tokenizer.encode(text) == [token]


def measure(model, tokenizer, prompts, settings, window):
    """The reference file's entry for a model: prompts {id: (prompt, subject)}, settings [(target, source, kept)]."""
    found, told = {}, {}
    for key, (prompt, subject) in prompts.items():
        ids, at = roles(tokenizer, prompt, subject)
        said = probabilities(model, ids)
        answer = next(i for i in said.argsort(descending=True).tolist() if is_word(tokenizer, i))
        top = said.topk(5)
        texts = [tokenizer.decode([i]) for i in top.indices]
        found[key] = (ids, at, answer)
        told[key] = {
            "prompt": prompt,
            "subject": subject,
            "answer": tokenizer.decode([answer]),
            "answer_probability": float(said[answer]),
            "top5": list(zip(texts, top.values.tolist(), strict=True)),
        }
    knockouts = [
        {
            "target": target,
            "source": source,
            "features_kept": kept,
            "window": window,
            "answer_probability_by_window": {
                key: _series(model, *found[key], source, target, kept, window) for key in prompts
            },
        }
        for target, source, kept in settings
    ]
    return {"prompts": told, "knockouts": knockouts}


def _series(model, ids, at, answer, source, target, kept, window):
    series = []
    for start in range(len(model.backbone.layers) - window + 1):
        with hooks(model, range(start, start + window), at[source], at[target], kept):
            series.append(float(probabilities(model, ids)[answer]))
    return series
