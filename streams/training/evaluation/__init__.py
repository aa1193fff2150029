"""Is a model better than the one that serves? Metrics, intervals, the gate, and the fitting of what is served with it."""
