"""Causal tracing: `config` has the options and is light to import; `run` has `trace`."""
