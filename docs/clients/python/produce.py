"""One event as JSON and one as Avro: produce.py BROKER TOPIC USER SCHEMA_FILE"""

import io
import json
import sys

import fastavro
from confluent_kafka import Producer

SCHEMA_ID = 589600993  # of schemas/avro/behaviour.raw.avsc, where there is no registry

broker, topic, user, schema_file = sys.argv[1:]
# murmur2 as in Java's client, so that a shopper has one partition whoever publishes.
producer = Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random"})

viewed = {"user_id": user, "event_type": "view", "item_id": "tent", "event_id": f"{user}-1"}
producer.produce(topic, key=user, value=json.dumps(viewed), headers={"content-type": "application/json"})

schema = fastavro.schema.load_schema(schema_file)
carted = {"user_id": user, "event_type": "cart", "item_id": "tent", "event_id": f"{user}-2", "quantity": 1.0}
value = io.BytesIO()
value.write(b"\0" + SCHEMA_ID.to_bytes(4, "big"))  # Confluent's framing
fastavro.schemaless_writer(value, schema, carted)
producer.produce(topic, key=user, value=value.getvalue())

if producer.flush(30) > 0:
    sys.exit("the broker did not take everything")
