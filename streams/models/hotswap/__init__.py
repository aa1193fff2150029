"""The models that a worker serves, and how they are replaced while the worker runs (docs/swap.md)."""
