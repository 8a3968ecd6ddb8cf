"""Where the atlas facts come from: one module per kind of source, each yielding Candidate rows."""
