"""A simulated shop: a catalogue, shoppers with drifting tastes, and their reactions to recommendations."""
