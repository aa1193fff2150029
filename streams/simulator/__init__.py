"""A simulated shop: a catalogue, shoppers with drifting tastes, and how they react to what is recommended."""
