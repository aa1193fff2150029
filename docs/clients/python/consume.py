"""Recommendations and whom they are for: consume.py BROKER TOPIC GROUP SCHEMA_FILE KEY_FILE"""

import base64
import io
import json
import sys
from pathlib import Path

import fastavro
from confluent_kafka import Consumer
from nacl.bindings import sodium_unpad
from nacl.public import PrivateKey, SealedBox

SCHEMA_ID = 1660725443  # of schemas/avro/recommendations.avsc, where there is no registry

broker, topic, group, schema_file, key_file = sys.argv[1:]
schema = fastavro.schema.load_schema(schema_file)
# The second line of keys/subscriber.key is the key, in base64.
box = SealedBox(PrivateKey(base64.b64decode(Path(key_file).read_text().splitlines()[1])))

consumer = Consumer({"bootstrap.servers": broker, "group.id": group, "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
while True:
    record = consumer.poll(1.0)
    if record is None:
        continue
    if record.error() is not None:
        sys.exit(str(record.error()))
    value = record.value()
    if value[0] != 0 or int.from_bytes(value[1:5], "big") != SCHEMA_ID:
        sys.exit("this record was written with another schema")
    recommendation = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    user = sodium_unpad(box.decrypt(recommendation["sealed_id"]), 64).decode()
    print(json.dumps({"user": user, "items": [item["item_id"] for item in recommendation["items"]]}), flush=True)
