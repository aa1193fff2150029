"""Records that were refused: why, where they were, and the way back for their originals."""
