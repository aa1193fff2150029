"""The profile stage: clean events in, recommendations and popularity out. One rule a file."""
