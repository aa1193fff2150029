"""The page of topics."""

from __future__ import annotations

from docs.generator.markdown import NOTICE, anchor, names, table
from streams.access.rights import changelog_of, data_keys_of, group_of
from streams.app import STAGES
from streams.settings import Settings
from streams.topics import BEHAVIOUR_CLEAN, COMPACTED, DAY_MS, TOPICS, TopicSpec

_TEXT = """# Topics
{notice}

`veilstream topics create` makes them, `veilstream topics check` compares them with this table.
Names begin with `VEILSTREAM_TOPIC_PREFIX`, where it is set.

{topics}

- *Schema* leads to the fields of the values. Values are Avro in Confluent's framing ([clients.md](../clients.md)).
- *Raw ids* marks the topics whose values name a person. No other topic does ([threat-model.md](../threat-model.md)).
- Partitions: `VEILSTREAM_PARTITIONS`, unless the table says 1. Topics marked *as `{clean}`* must have as many as that one.
- `VEILSTREAM_SOURCE_TOPICS` and `VEILSTREAM_ITEMS_SOURCE_TOPICS` add topics with the properties of `behaviour.raw` and `catalogue.items`.
- Who reads and writes becomes rights at the brokers: [access.md](../access.md) has all of them. What retention means for shoppers:
  [retention.md](../retention.md).
- Compacted topics have {compacted}.

## Stages
{stages}

- *Follows*: topics that each worker of the stage reads whole, from the beginning.
- *State* is a table in `VEILSTREAM_STATE_DIR` and its changelog topic, which the stage makes. *Data keys* seal it
  ([at-rest.md](../at-rest.md)).
"""


def page() -> str:
    """The page's text, from the table of topics and the flow."""
    return _TEXT.format(
        notice=NOTICE,
        clean=BEHAVIOUR_CLEAN,
        topics=table(("topic", "schema", "key", "cleanup", "kept", "partitions", "raw ids", "written by", "read by"), map(_topic, TOPICS)),
        compacted=", ".join(f"`{name}={value}`" for name, value in COMPACTED.items()),
        stages=table(("stage", "reads", "writes", "follows", "group", "state: changelog", "data keys"), map(_stage, STAGES)),
    )


def kept(spec: TopicSpec) -> str:
    """For how long the broker keeps records, in words.

    >>> kept(TOPICS[0])
    '1 day'
    """
    if spec.retention_ms is None:
        return "the last value of each key"
    if spec.retention_ms < 0:
        return "for ever"
    days = spec.retention_ms // DAY_MS
    return f"{days} day{'' if days == 1 else 's'}"


def _topic(spec: TopicSpec) -> tuple[str, ...]:
    partitions = "1" if spec.single_partition else f"as `{BEHAVIOUR_CLEAN}`" if spec.co_partitioned and spec.name != BEHAVIOUR_CLEAN else ""
    schema = f"[schema](schemas.md#{anchor(spec.name)})"
    raw = "yes" if spec.raw_identity else ""
    return f"`{spec.name}`", schema, spec.key, spec.cleanup, kept(spec), partitions, raw, names(spec.writers), names(spec.readers)


def _stage(name: str) -> tuple[str, ...]:
    spec, settings = STAGES[name], Settings.model_construct()
    changelog, keys = changelog_of(name, settings), data_keys_of(name, settings)
    return (
        *(f"`{name}`", names(spec.sources), names(spec.outputs), names(spec.follows), f"`{group_of(name, settings)}`"),
        *("" if topic is None else f"`{topic}`" for topic in (changelog, keys)),
    )
