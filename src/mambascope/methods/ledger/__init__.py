"""Route ledger: by which route through each layer's mixer does what the target knows of a source reach the answer?"""
