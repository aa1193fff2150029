"""The ingest stage: reads raw events, writes clean pseudonymous events. One rule per file."""
