"""The ingest stage: raw events in, clean pseudonymous events out. One rule a file."""
