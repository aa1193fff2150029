"""Is a model better than the serving one? Metrics, intervals, the gate, and the fit of the serving parameters."""
