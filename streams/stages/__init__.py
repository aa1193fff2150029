"""One folder per stage: its rules, and the handler that applies them to a batch. No stage imports another."""
