"""The learning stage: counts what the partitions have seen, and decides when to train."""
