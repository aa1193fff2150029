// Recommendations and whom they are for: consume.mjs BROKER TOPIC GROUP SCHEMA_FILE KEY_FILE
import fs from "node:fs";
import avro from "avsc";
import { Kafka, logLevel } from "kafkajs";
import sodium from "libsodium-wrappers";

const SCHEMA_ID = 1660725443; // of schemas/avro/recommendations.avsc, where there is no registry

const [broker, topic, groupId, schemaFile, keyFile] = process.argv.slice(2);
const schema = avro.Type.forSchema(JSON.parse(fs.readFileSync(schemaFile, "utf8")), { wrapUnions: true });
await sodium.ready;
// The second line of keys/subscriber.key is the key, in base64.
const secret = new Uint8Array(Buffer.from(fs.readFileSync(keyFile, "utf8").split("\n")[1], "base64"));
const open = (sealed) => {
  const padded = sodium.crypto_box_seal_open(sealed, sodium.crypto_scalarmult_base(secret), secret);
  return sodium.to_string(sodium.unpad(padded, 64));
};

const consumer = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR }).consumer({ groupId });
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message: { value } }) => {
    if (value[0] !== 0 || value.readUInt32BE(1) !== SCHEMA_ID) throw new Error("this record was written with another schema");
    const recommendation = schema.fromBuffer(value.subarray(5));
    const items = recommendation.items.map((item) => item.item_id);
    console.log(JSON.stringify({ user: open(recommendation.sealed_id), items }));
  },
});
