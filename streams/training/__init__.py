"""Trains on collected pairs: a store of pairs, a round of fine-tuning, the gate, the registry, the canary. No torch at import."""
