"""Fine-tuning of a BERT-family folder on what shoppers did. Knows texts and numbers, nothing of Kafka; see docs/training.md."""
