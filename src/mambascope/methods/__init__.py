"""The analysis methods, one folder each."""
