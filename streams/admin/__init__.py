"""What operators do to a cluster: clients, topics."""
