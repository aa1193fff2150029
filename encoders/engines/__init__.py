"""Ways to compute a model's forward pass, from rows of tokens to unit vectors. ``selection`` finds the fastest that is exact enough."""
