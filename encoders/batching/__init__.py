"""An encoder for many tasks of one event loop: requests gathered into batches, a cache, failures kept to their own texts."""
