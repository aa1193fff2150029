"""Kafka access for everything that is not a stage: configures clients, makes and checks topics."""
