#!/bin/sh
# One event as JSON, and one in Avro that something else has framed: produce.sh BROKER TOPIC USER AVRO_FILE
set -eu
publish="kcat -P -b $1 -t $2 -k $3 -X partitioner=murmur2_random"

echo "{\"user_id\": \"$3\", \"event_type\": \"view\", \"item_id\": \"tent\", \"event_id\": \"$3-1\"}" |
  $publish -H content-type=application/json

$publish "$4" # the whole file is one value
