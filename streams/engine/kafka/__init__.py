"""The engine's ways to a broker, on aiokafka's connections and record formats. What aiokafka's own consumer and producer would do with
errors, transactions and damaged records is not used here; ``docs/kafka-client-faults.md`` says why."""
