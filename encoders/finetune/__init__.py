"""Fine-tuning of a BERT-family folder on what shoppers did. It works on texts and numbers, without Kafka; see docs/training.md."""
