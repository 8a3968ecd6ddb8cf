"""The one glossary of axis names, used by every annotation, einsum and error message.

Annotations read `Float[Tensor, "tokens E N"]`; `tokens` is the packed axis (see sites/segments.py).
Paper symbols: Delta is `dt`, h is `state`, x (the scan's input) is `u`.
"""

AXES = {
    "B": "batch (prompts)",
    "T": "position in the prompt",
    "L": "layer",
    "D": "residual width, d_model",
    "E": "inner channels, d_inner",
    "N": "SSM state size, d_state",
    "H": "heads",
    "P": "head dim",
    "G": "groups that share B and C (Mamba-2), or key/value heads (transformer)",
    "K": "convolution taps, d_conv",
    "R": "rank of dt's projection",
    "M": "MLP width",
    "V": "vocabulary",
    "F": "dictionary features",
    "S": "noise samples",
}
