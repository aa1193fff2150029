"""Items and events from files, as rows and as the records that a producer publishes."""
