"""Values to bytes and back: Confluent framing, schema registries, codecs."""

from streams.serde.codec import Codec, Codecs, local_codecs, open_codecs

__all__ = ["Codec", "Codecs", "local_codecs", "open_codecs"]
