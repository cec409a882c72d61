"""Proofs that take minutes. `make proof` runs them; each writes data/results/proof-NAME.json."""
