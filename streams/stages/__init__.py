"""One folder a stage: the rules of what it does, and the handler that applies them to a batch. No stage imports another."""
