"""Model versions: where they come from (registry) and how a worker changes from one to another (hotswap)."""
