// Recommendations and whom they are for: java -cp "libraries/*" Consume.java BROKER TOPIC GROUP SCHEMA_FILE SUBSCRIBER_KEY INGEST_PUB
import com.goterl.lazysodium.LazySodiumJava;
import com.goterl.lazysodium.SodiumJava;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Consume {
  static final int SCHEMA_ID = 295994289; // of schemas/avro/recommendations.avsc, where there is no registry
  static final LazySodiumJava sodium = new LazySodiumJava(new SodiumJava());

  public static void main(String[] arguments) throws Exception {
    Schema schema = new Schema.Parser().parse(new File(arguments[3]));
    byte[] secret = keyIn(arguments[4]), ingest = keyIn(arguments[5]), open = new byte[32];
    sodium.cryptoScalarMultBase(open, secret);

    Map<String, Object> settings =
        Map.of("bootstrap.servers", arguments[0], "group.id", arguments[2], "auto.offset.reset", "earliest");
    try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(arguments[1]));
      while (true) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
          ByteBuffer value = ByteBuffer.wrap(record.value());
          if (value.get() != 0 || value.getInt() != SCHEMA_ID) {
            throw new IllegalStateException("this record was written with another schema");
          }
          var decoder = DecoderFactory.get().binaryDecoder(record.value(), 5, record.value().length - 5, null);
          GenericRecord recommendation = new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
          ByteBuffer sealed = (ByteBuffer) recommendation.get("sealed_id");
          String pseudonym = recommendation.get("pseudonym").toString();
          List<String> items = ((List<?>) recommendation.get("items"))
              .stream().map(item -> "\"" + ((GenericRecord) item).get("item_id") + "\"").toList();
          try {
            String user = user(sealed.array(), pseudonym, ingest, open, secret);
            System.out.println("{\"user\": \"" + user + "\", \"items\": " + items + "}");
          } catch (IllegalStateException error) {
            System.err.println("left out " + record.partition() + "/" + record.offset() + ": " + error.getMessage());
          }
        }
      }
    }
  }

  // The second line of a key file is the key, in base64.
  static byte[] keyIn(String file) throws Exception {
    return Base64.getDecoder().decode(Files.readAllLines(Path.of(file)).get(1));
  }

  static String user(byte[] sealed, String pseudonym, byte[] ingest, byte[] open, byte[] secret) {
    if (sealed.length % 64 != 49 || sealed[0] != 1) {
      throw new IllegalStateException("this id is not signed: it is from before the update to signed ones, or forged");
    }
    byte[] name = pseudonym.getBytes(StandardCharsets.UTF_8), purpose = "veilstream sealed id\n".getBytes(StandardCharsets.US_ASCII);
    int before = sealed.length - 64; // the version and the box; behind them is the signature
    byte[] message = ByteBuffer.allocate(purpose.length + 1 + name.length + before)
        .put(purpose).put((byte) name.length).put(name).put(sealed, 0, before).array();
    if (!sodium.cryptoSignVerifyDetached(Arrays.copyOfRange(sealed, before, sealed.length), message, message.length, ingest)) {
      throw new IllegalStateException("this id was not made by ingest for this pseudonym");
    }
    byte[] padded = new byte[before - 1 - 48];
    if (!sodium.cryptoBoxSealOpen(padded, Arrays.copyOfRange(sealed, 1, before), before - 1, open, secret)) {
      throw new IllegalStateException("this id was sealed to another key");
    }
    int end = padded.length - 1; // the padding is one byte 0x80 and then zeros
    while (padded[end] == 0) end--;
    return new String(padded, 0, end, StandardCharsets.UTF_8);
  }
}
