"""Whether the schema registry answers. It is asked, and nothing is registered. Blocks."""

from __future__ import annotations

from streams.doctor.findings import Finding, fault
from streams.errors import VeilstreamError
from streams.serde.registry_access import RegistryAccess
from streams.serde.registry_http import RegistryHttp
from streams.settings import Settings
from streams.visible_text import without_secrets


def check_registry(settings: Settings) -> Finding:
    """A finding also where none is set."""
    if settings.registry_url is None:
        return Finding("registry", "ok", "none is set: the schemas of the product's own files are used")
    try:
        # Any id will do: that there is no such schema is an answer, too.
        RegistryHttp(RegistryAccess.from_settings(settings)).ask("/schemas/ids/1", None, "a question for schema 1")
    except VeilstreamError as error:
        return fault("registry", str(error))
    return Finding("registry", "ok", f"{without_secrets(settings.registry_url)} answers")
