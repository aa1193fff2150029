"""The engine's access to brokers, on aiokafka's connections and record formats.

aiokafka's own consumer and producer are not used here, because of how they handle errors, transactions and damaged records. See
``docs/kafka-client-faults.md``.
"""
