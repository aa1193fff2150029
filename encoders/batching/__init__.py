"""An encoder for many tasks of one event loop: gathers requests into batches, caches vectors, and isolates failing texts."""
