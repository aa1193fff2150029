"""The learning stage: what partitions have seen, counted; and when a model is trained anew."""
