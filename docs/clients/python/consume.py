"""Recommendations and whom they are for: consume.py BROKER TOPIC GROUP SCHEMA_FILE SUBSCRIBER_KEY INGEST_PUB"""

import base64
import io
import json
import sys
from pathlib import Path

import fastavro
from confluent_kafka import Consumer
from nacl.bindings import sodium_unpad
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from nacl.signing import VerifyKey

SCHEMA_ID = 295994289  # of schemas/avro/recommendations.avsc, where there is no registry

broker, topic, group, schema_file, subscriber_key, ingest_pub = sys.argv[1:]
schema = fastavro.schema.load_schema(schema_file)


def key_in(path: str) -> bytes:
    """The second line of a key file is the key, in base64."""
    return base64.b64decode(Path(path).read_text().splitlines()[1])


box = SealedBox(PrivateKey(key_in(subscriber_key)))
ingest = VerifyKey(key_in(ingest_pub))


def open_id(sealed: bytes, pseudonym: str) -> str:
    """Raises ValueError or CryptoError unless ingest has sealed it for this pseudonym."""
    if sealed[:1] != b"\x01" or len(sealed) % 64 != 49:
        raise ValueError("this id is not signed: it is from before the update to signed ones, or forged")
    name = pseudonym.encode()
    ingest.verify(b"veilstream sealed id\n" + bytes([len(name)]) + name + sealed[:-64], sealed[-64:])
    return sodium_unpad(box.decrypt(sealed[1:-64]), 64).decode()


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
    try:
        user = open_id(recommendation["sealed_id"], recommendation["pseudonym"])
    except (ValueError, CryptoError) as error:
        print(f"left out {record.partition()}/{record.offset()}: {error}", file=sys.stderr)
        continue
    print(json.dumps({"user": user, "items": [item["item_id"] for item in recommendation["items"]]}), flush=True)
