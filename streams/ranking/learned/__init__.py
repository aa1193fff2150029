"""The learned ranker: candidates, their features, and a model over them whose reasons are exact."""
