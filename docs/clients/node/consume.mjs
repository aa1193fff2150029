// Recommendations and whom they are for: consume.mjs BROKER TOPIC GROUP SCHEMA_FILE SUBSCRIBER_KEY INGEST_PUB
import fs from "node:fs";
import avro from "avsc";
import { Kafka, logLevel } from "kafkajs";
import sodium from "libsodium-wrappers";

const SCHEMA_ID = 295994289; // of schemas/avro/recommendations.avsc, where there is no registry

const [broker, topic, groupId, schemaFile, subscriberKey, ingestPub] = process.argv.slice(2);
const schema = avro.Type.forSchema(JSON.parse(fs.readFileSync(schemaFile, "utf8")), { wrapUnions: true });
await sodium.ready;
// The second line of a key file is the key, in base64.
const keyIn = (file) => new Uint8Array(Buffer.from(fs.readFileSync(file, "utf8").split("\n")[1], "base64"));
const secret = keyIn(subscriberKey);
const ingest = keyIn(ingestPub);
const openId = (sealed, pseudonym) => {
  if (sealed[0] !== 1 || sealed.length % 64 !== 49) throw new Error("this id is not signed: from before the update, or forged");
  const name = Buffer.from(pseudonym, "utf8");
  const before = sealed.subarray(0, -64);
  const message = Buffer.concat([Buffer.from("veilstream sealed id\n"), Buffer.from([name.length]), name, before]);
  if (!sodium.crypto_sign_verify_detached(sealed.subarray(-64), message, ingest)) {
    throw new Error("this id was not made by ingest for this pseudonym");
  }
  const padded = sodium.crypto_box_seal_open(before.subarray(1), sodium.crypto_scalarmult_base(secret), secret);
  return sodium.to_string(sodium.unpad(padded, 64));
};

const consumer = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR }).consumer({ groupId });
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  eachMessage: async ({ partition, message: { value, offset } }) => {
    if (value[0] !== 0 || value.readUInt32BE(1) !== SCHEMA_ID) throw new Error("this record was written with another schema");
    const recommendation = schema.fromBuffer(value.subarray(5));
    const items = recommendation.items.map((item) => item.item_id);
    try {
      console.log(JSON.stringify({ user: openId(recommendation.sealed_id, recommendation.pseudonym), items }));
    } catch (error) {
      console.error(`left out ${partition}/${offset}: ${error.message}`);
    }
  },
});
