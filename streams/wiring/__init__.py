"""The composition root: settings in, stages ready to run out. Nothing else constructs anything for production."""
