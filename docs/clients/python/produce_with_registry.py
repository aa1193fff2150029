"""One event as Avro, with a schema registry: produce_with_registry.py BROKER TOPIC USER SCHEMA_FILE REGISTRY_URL"""

import sys
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

broker, topic, user, schema_file, registry_url = sys.argv[1:]
registry = SchemaRegistryClient({"url": registry_url})
serialize = AvroSerializer(registry, Path(schema_file).read_text())

# This serializer does not fill in the schema's defaults: fields that may be null are null if they are left out.
carted = {"user_id": user, "event_type": "cart", "item_id": "tent", "event_id": f"{user}-1", "quantity": 1.0}
producer = Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random"})
producer.produce(topic, key=user, value=serialize(carted, SerializationContext(topic, MessageField.VALUE)))
if producer.flush(30) > 0:
    sys.exit("the broker did not take everything")
