"""The profile stage: reads clean events, writes recommendations and popularity. One rule per file."""
