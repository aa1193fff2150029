"""The items nearest to many users at once: exactly by one matrix product, or, in a large catalogue, by a scan of small integers."""
