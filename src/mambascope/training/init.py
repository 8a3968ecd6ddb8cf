"""Initial weights, by module: what the reference implementations start from, with two differences.

Linear layers: uniform within 1/sqrt(inputs), the last product before the residual scaled by 1/sqrt(layers x products) (GPT-2;
`_init_weights` of state-spaces/mamba, which leaves PyTorch's own draw). Mamba-1: A = -(1..N), D = 1, dt log-uniform in
[0.001, 0.1] (Gu & Dao 2023, section 3.6). Mamba-2: A uniform in [1, 16] (Dao & Gu 2024, section 7).

Embeddings: normal, std 1/sqrt(D), so that logits begin near 1 and a step of AdamW is small beside them. With 0.02, a 3-layer
Mamba-1 did not learn to copy lists in 0.6 million tokens at a learning rate of 3e-3, with this it did in 0.4 million.
B and C of Mamba-1: their rows of x_proj are drawn B_C_GAIN times wider, so that B and C are of order 1 although u is small at
the start; things are looked up by the product C.B, which would else begin near 0.
"""

import math
from functools import singledispatch

import torch
from torch import Generator, Tensor, nn

from mambascope.models.language_model import LanguageModel
from mambascope.models.mamba1 import Mamba1Mixer
from mambascope.models.mamba2 import Mamba2Mixer

DT_RANGE = (0.001, 0.1)
B_C_GAIN = 6
RESIDUAL_PRODUCTS = ("mixer.out_proj.weight", "attention.out_proj.weight", "mlp.down_proj.weight")


@torch.no_grad()
def initialise(model: LanguageModel, seed: int) -> None:
    """Draw all weights of the model anew from the seed, in place."""
    random = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if name in ("embedding", "position_embedding", "unembedding"):
            weight.normal_(0, weight.shape[1] ** -0.5, generator=random)
    for module in model.modules():
        draw(module, random)
    _draw_input_projections(model, random)
    products = [
        weight for name, weight in model.named_parameters() if name.endswith(RESIDUAL_PRODUCTS)
    ]
    for weight in products:
        weight /= math.sqrt(len(products))


@singledispatch
def draw(module: nn.Module, random: Generator) -> None:
    """Draw one module's own weights; norms keep theirs at one."""


@draw.register
def _(module: nn.Linear, random: Generator) -> None:
    bound = module.in_features**-0.5
    module.weight.uniform_(-bound, bound, generator=random)
    if module.bias is not None:
        module.bias.zero_()


@draw.register
def _(module: Mamba1Mixer, random: Generator) -> None:
    _draw_conv(module.conv_weight, module.conv_bias, random)
    module.A_log.copy_(torch.arange(1, module.config.d_state + 1).log())
    module.D.fill_(1)


@draw.register
def _(module: Mamba2Mixer, random: Generator) -> None:
    _draw_conv(module.conv_weight, module.conv_bias, random)
    module.A_log.uniform_(1, 16, generator=random).log_()
    module.D.fill_(1)
    module.dt_bias.copy_(_inverse_softplus(_steps(len(module.dt_bias), random)))


def _draw_input_projections(model: LanguageModel, random: Generator) -> None:
    for module in model.modules():
        if isinstance(module, Mamba1Mixer):
            bound = module.config.dt_rank**-0.5
            module.dt_proj.weight.uniform_(-bound, bound, generator=random)
            module.x_proj.weight[module.config.dt_rank :] *= B_C_GAIN
            module.dt_proj.bias.copy_(_inverse_softplus(_steps(module.config.d_inner, random)))


def _draw_conv(weight: Tensor, bias: Tensor | None, random: Generator) -> None:
    bound = weight.shape[1] ** -0.5
    weight.uniform_(-bound, bound, generator=random)
    if bias is not None:
        bias.zero_()


def _steps(count: int, random: Generator) -> Tensor:
    low, high = (math.log(limit) for limit in DT_RANGE)
    return torch.exp(torch.rand(count, generator=random) * (high - low) + low)


def _inverse_softplus(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-x))
