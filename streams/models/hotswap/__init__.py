"""The models that a worker serves, and how they are replaced while it runs (docs/swap.md)."""
