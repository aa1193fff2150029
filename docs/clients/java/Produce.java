// One event as JSON and one as Avro: java -cp "libraries/*" Produce.java BROKER TOPIC USER SCHEMA_FILE
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Produce {
  static final int SCHEMA_ID = 589600993; // of schemas/avro/behaviour.raw.avsc, where there is no registry

  public static void main(String[] arguments) throws Exception {
    String broker = arguments[0], topic = arguments[1], user = arguments[2];
    Schema schema = new Schema.Parser().parse(new File(arguments[3]));

    String viewed =
        "{\"user_id\": \"%s\", \"event_type\": \"view\", \"item_id\": \"tent\", \"event_id\": \"%s-1\"}".formatted(user, user);
    ProducerRecord<String, byte[]> json = new ProducerRecord<>(topic, user, viewed.getBytes(StandardCharsets.UTF_8));
    json.headers().add("content-type", "application/json".getBytes(StandardCharsets.UTF_8));

    GenericRecord carted = new GenericRecordBuilder(schema)
        .set("user_id", user)
        .set("event_type", "cart")
        .set("item_id", "tent")
        .set("event_id", user + "-2")
        .set("quantity", 1.0)
        .build();
    ByteArrayOutputStream value = new ByteArrayOutputStream();
    value.write(ByteBuffer.allocate(5).put((byte) 0).putInt(SCHEMA_ID).array()); // Confluent's framing
    BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(value, null);
    new GenericDatumWriter<GenericRecord>(schema).write(carted, encoder);
    encoder.flush();

    Map<String, Object> settings = Map.of("bootstrap.servers", broker);
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
      producer.send(json).get();
      producer.send(new ProducerRecord<>(topic, user, value.toByteArray())).get();
    }
  }
}
