"""How models lie on disk: one file per format with literal renames, and what reads, checks and builds from them."""
