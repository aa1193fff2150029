"""Kafka for whoever is not a stage: how clients are configured, topics made and checked."""
