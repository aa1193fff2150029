"""The candidates for many users at once in a large catalogue, by a scan of small integers."""
