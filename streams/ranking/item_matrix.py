"""The vectors of the whole catalogue as one matrix, read from ``items.vectors``. There is one instance per model version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.engine.ports import CandidateScan, FloatArray, RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import Reason, RecordError
from streams.ranking.lexical import TermIndex
from streams.ranking.read_up_to import ReadUpTo
from streams.ranking.select import Groups, groups_of
from streams.serde.vectors import from_bytes, key_prefix

_FIRST_CAPACITY = 1024
NO_BAND = -(1 << 15)
"""In place of a price band where there is none."""
NO_CATEGORY = -1
_GROUPED = 1 << 63
"""Set in a group's hash, so that it is never the number of a row."""


class ItemMatrix:
    """Unit vectors by row. Records of other model versions are skipped. So two instances can read the same topic while a model is
    swapped.

    A row belongs to one item until the item's tombstone. Then the next new item may get the row.
    """

    def __init__(self, codec: RecordCodec, version: str, dimension: int) -> None:
        """Raises ConfigurationError if the version can't be part of a key."""
        self.version = version
        self.dimension = dimension
        self.bad_records = 0
        """Records of this version that could not be used."""
        self.read = ReadUpTo()
        self.layout = 0
        """Changes whenever a row changes hands."""
        self.terms = TermIndex()
        self._codec = codec
        self._prefix = key_prefix(version)
        self._vectors = np.zeros((_FIRST_CAPACITY, dimension), np.float32)
        self._recommendable = np.zeros(_FIRST_CAPACITY, np.bool_)
        self._categories = np.full(_FIRST_CAPACITY, NO_CATEGORY, np.int32)
        self._bands = np.full(_FIRST_CAPACITY, NO_BAND, np.int16)
        self._products = np.zeros(_FIRST_CAPACITY, np.uint64)
        self._is_grouped = np.zeros(_FIRST_CAPACITY, np.bool_)
        self._grouped = 0
        self._groups: Groups | None = None
        self._category_numbers: dict[str, int] = {}
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._rows)

    @property
    def rows(self) -> Mapping[str, int]:
        """Item id to row."""
        return self._rows

    @property
    def ids(self) -> Sequence[str]:
        """Row to item id; empty for a row that is free."""
        return self._ids

    @property
    def vectors(self) -> FloatArray:
        """float32 [rows, dimension], a view that is valid until the next ``apply``; free rows are zero."""
        return self._vectors[: len(self._ids)]

    @property
    def recommendable(self) -> npt.NDArray[np.bool_]:
        """bool [rows], a view: neither out of stock, nor blocked, nor free."""
        return self._recommendable[: len(self._ids)]

    @property
    def categories(self) -> npt.NDArray[np.int32]:
        """int32 [rows], a view: a number for each category, ``NO_CATEGORY`` where the item has none."""
        return self._categories[: len(self._ids)]

    @property
    def price_bands(self) -> npt.NDArray[np.int16]:
        """int16 [rows], a view: the price band, ``NO_BAND`` where the item has none."""
        return self._bands[: len(self._ids)]

    @property
    def products(self) -> npt.NDArray[np.uint64]:
        """uint64 [rows], a view: a hash of the item's group, or of its text if it has none; items with the same are variants of one
        product."""
        return self._products[: len(self._ids)]

    @property
    def has_groups(self) -> bool:
        """Whether any item has a group."""
        return self._grouped > 0

    @property
    def groups(self) -> npt.NDArray[np.uint64]:
        """uint64 [rows]: as ``products``, but an item without a group is a product by itself."""
        size = len(self._ids)
        return np.where(self._is_grouped[:size], self._products[:size], np.arange(size, dtype=np.uint64))

    @property
    def grouped(self) -> Groups:
        """The rows that have a group, by group; valid until the next ``apply``."""
        if self._groups is None:
            rows = np.flatnonzero(self._is_grouped[: len(self._ids)])
            self._groups = groups_of(self._products[rows], rows)
        return self._groups

    @property
    def scan(self) -> CandidateScan | None:
        """An index of ``vectors``; None: compare them all."""
        return None

    @property
    def space_number(self) -> int:
        """Changes with the space of the vectors: what was transformed before compares no longer."""
        return 0

    @property
    def space_of(self) -> list[int]:
        """Up to where the records had been read that the space was fitted to, by partition: here it needs none."""
        return []

    @property
    def fitting(self) -> Future[object] | None:
        """Done when ``take_fitted`` would change the space of the vectors; None where nothing is being fitted."""
        return None

    def transform(self, vectors: FloatArray) -> FloatArray:
        """Query vectors as they compare with this matrix's: here as they are."""
        return vectors

    def take_fitted(self) -> None:
        """To be called before a batch: here the space never changes."""

    def apply(self, records: Sequence[SourceRecord]) -> None:
        """Take in a fetch of ``items.vectors``: a value puts an item, a tombstone removes it. Never raises for a record."""
        self.read.take(records)
        for record in records:
            key = record.key
            if key is None or not key.startswith(self._prefix):
                continue
            try:
                self._apply_one(key[len(self._prefix) :].decode(), record)
            except (RecordError, UnicodeDecodeError):
                self.bad_records += 1

    def _apply_one(self, item_id: str, record: SourceRecord) -> None:
        if record.value is None:
            self._remove(item_id)
            return
        value: Mapping[str, Any] = self._codec.decode(record.value, record.headers)
        if value["item_id"] != item_id or value["model_version"] != self.version:
            raise RecordError(Reason.KEY_MISMATCH, "key and value name different items or model versions")
        vector = from_bytes(value["vector"], self.dimension)
        row = self._rows.get(item_id)
        if row is None:
            row = self._take_row(item_id)
        self._vectors[row] = vector
        self._recommendable[row] = value["recommendable"]
        category, band = value["category"], value["price_band"]
        self._categories[row] = (
            NO_CATEGORY if category is None else self._category_numbers.setdefault(category, len(self._category_numbers))
        )
        self._bands[row] = NO_BAND if band is None else band
        group = value["group_id"]
        self._put_product(row, _number(value["text_hash"]) if group is None else _number(f"group\0{group}") | _GROUPED, group is not None)
        self.terms.put(row, value["terms"] or b"")  # fastavro reads a default of bytes as text

    def _put_product(self, row: int, product: int, is_grouped: bool) -> None:
        if is_grouped or self._is_grouped[row]:
            self._groups = None
        self._grouped += is_grouped - bool(self._is_grouped[row])
        self._products[row], self._is_grouped[row] = product, is_grouped

    def _take_row(self, item_id: str) -> int:
        self.layout += 1
        if self._free:
            row = self._free.pop()
            self._ids[row] = item_id
        else:
            row = len(self._ids)
            self._ids.append(item_id)
            if row == len(self._vectors):
                self._grow()
        self._rows[item_id] = row
        return row

    def _grow(self) -> None:
        # A new array: users of the old one keep a consistent, older catalogue.
        capacity = 2 * len(self._vectors)
        vectors = np.zeros((capacity, self.dimension), np.float32)
        vectors[: len(self._vectors)] = self._vectors
        recommendable = np.zeros(capacity, np.bool_)
        recommendable[: len(self._recommendable)] = self._recommendable
        self._vectors, self._recommendable = vectors, recommendable
        more = capacity - len(self._bands)
        self._categories = np.append(self._categories, np.full(more, NO_CATEGORY, np.int32))
        self._products = np.append(self._products, np.zeros(more, np.uint64))
        self._is_grouped = np.append(self._is_grouped, np.zeros(more, np.bool_))
        self._bands = np.append(self._bands, np.full(more, NO_BAND, np.int16))

    def _remove(self, item_id: str) -> None:
        row = self._rows.pop(item_id, None)
        if row is None:
            return
        self.layout += 1
        self._ids[row] = ""
        self._vectors[row] = 0.0
        self.terms.put(row, b"")
        self._recommendable[row] = False
        self._put_product(row, 0, False)
        self._free.append(row)


def _number(text: str) -> int:
    """A hash of 64 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
