"""A short name for a set of weights, for provenance."""

import hashlib
import weakref

import torch
from torch import Tensor, nn

_SAMPLE = 128
_known: "weakref.WeakKeyDictionary[nn.Module, tuple[str, str]]" = weakref.WeakKeyDictionary()


def weights_hash(model: nn.Module) -> str:
    """The first 16 hex digits of a sha256 over every parameter's name, dtype, shape and bytes.

    Remembered until a weight changes, as its version counter and a sample of its numbers tell: every result names its weights,
    and reading billions of them takes longer than many a trace.
    """
    seen = _digest(model, sampled=True)
    known = _known.get(model)
    if known is None or known[0] != seen:
        known = _known[model] = seen, _digest(model, sampled=False)
    return known[1][:16]


def _digest(model: nn.Module, *, sampled: bool) -> str:
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        if sampled:
            digest.update(f"{parameter.data_ptr()} {parameter._version}\n".encode())
        digest.update(_bytes(parameter.detach().flatten(), sampled))
    return digest.hexdigest()


def _bytes(flat: Tensor, sampled: bool) -> memoryview:
    chosen = flat[:: max(1, len(flat) // _SAMPLE)] if sampled else flat
    return chosen.cpu().contiguous().view(torch.uint8).numpy().data
