"""Engines that compute a model's forward pass, from rows of tokens to unit vectors. ``selection`` finds the fastest exact enough one."""
