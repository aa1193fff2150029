"""The sources of items that the settings name: the catalogue stage and the trainer read the same records in the same way."""

from __future__ import annotations

from streams import topics
from streams.errors import ConfigurationError
from streams.serde.codec import Codecs
from streams.settings import Settings
from streams.sources.item_sources import ItemSources
from streams.sources.loading import load_item_sources


def item_sources(settings: Settings, codecs: Codecs) -> ItemSources:
    """Raises ConfigurationError for a mapping that is wrong, and for a name that is that of no source."""
    own = topics.item_topics(settings.items_source_topics)
    if shared := own.keys() & topics.raw_topics(settings.source_topics).keys():
        raise ConfigurationError(f"{', '.join(sorted(shared))} can't hold events and items: see VEILSTREAM_ITEMS_SOURCE_TOPICS")
    return ItemSources(
        codecs.for_topic(topics.CATALOGUE_ITEMS),
        load_item_sources(settings.sources_dir),
        default=settings.items_source,
        by_topic={settings.topic_prefix + topic: name for topic, name in own.items()},
        max_bytes=settings.max_record_bytes,
    )
