"""Effective attention and memory: `config` has the options and is light to import; `run` has `effective_attention`, `memory`
has `retention` and `half_life_spectrum`.
"""
