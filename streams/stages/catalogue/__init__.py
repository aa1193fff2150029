"""The catalogue stage: reads items, writes one vector per item. One rule per file."""
