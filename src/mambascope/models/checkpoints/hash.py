"""A short name for a set of weights, for provenance."""

import hashlib

import torch
from torch import nn


def weights_hash(model: nn.Module) -> str:
    """The first 16 hex digits of a sha256 over every parameter's name, dtype, shape and bytes."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        flat = parameter.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
