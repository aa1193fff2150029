"""What producers publish, from files: items and events as rows, and as records."""
