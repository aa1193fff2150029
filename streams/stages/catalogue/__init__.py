"""The catalogue stage: items in, one vector an item out. One rule a file."""
