"""Training language models from nothing, and measuring what they recall."""
