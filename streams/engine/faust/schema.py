"""A Faust schema that hands a fetched run to the agent as it is."""

from __future__ import annotations

from typing import Any

import faust
from faust.types import AppT, EventT
from faust.types.tuples import Message


class RunSchema(faust.Schema[Any, Any]):
    """Decodes nothing: records are decoded by the stage, all of a batch at once."""

    def compile(self, app: AppT, **kwargs: Any) -> Any:
        create_event = app.create_event

        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:
            return create_event(None, message.value, {}, message)

        return decode
