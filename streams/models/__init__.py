"""Model versions: the registry of versions, and how a worker switches from one to another (hotswap)."""
