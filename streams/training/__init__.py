"""Learns from training pairs: a store of them, a round of fine-tuning, the gate, the registry, the canary. No torch at import."""
