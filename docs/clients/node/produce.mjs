// One event as JSON and one as Avro: produce.mjs BROKER TOPIC USER SCHEMA_FILE
import fs from "node:fs";
import avro from "avsc";
import { Kafka, Partitioners } from "kafkajs";

const SCHEMA_ID = 589600993; // of schemas/avro/behaviour.raw.avsc, where there is no registry

const [broker, topic, user, schemaFile] = process.argv.slice(2);
// Unions as {"string": …}: avsc can't tell a long from a double by its value.
const schema = avro.Type.forSchema(JSON.parse(fs.readFileSync(schemaFile, "utf8")), { wrapUnions: true });
// This partitioner is that of Java's client, so that a shopper has one partition whoever publishes.
const producer = new Kafka({ brokers: [broker] }).producer({ createPartitioner: Partitioners.DefaultPartitioner });

const viewed = { user_id: user, event_type: "view", item_id: "tent", event_id: `${user}-1` };

const carted = {
  user_id: user,
  event_type: "cart",
  item_id: { string: "tent" },
  event_id: { string: `${user}-2` },
  quantity: { double: 1 },
};
const header = Buffer.alloc(5); // Confluent's framing
header.writeUInt32BE(SCHEMA_ID, 1);

await producer.connect();
await producer.send({
  topic,
  messages: [
    { key: user, value: JSON.stringify(viewed), headers: { "content-type": "application/json" } },
    { key: user, value: Buffer.concat([header, schema.toBuffer(carted)]) },
  ],
});
await producer.disconnect();
