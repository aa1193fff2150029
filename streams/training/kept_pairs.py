"""What a trainer's folder holds of one shopper, for whoever answers her requests."""

from __future__ import annotations

from pathlib import Path

import msgspec

from streams.serde.records import FeatureLog, TrainingPair
from streams.training.pair_file import FILE, open_to_read, reached
from streams.training.row_seal import RowSeal
from streams.training.sealed_rows import open_body


def kept_of(folder: Path, pseudonym: str, seal: RowSeal | None = None) -> tuple[list[TrainingPair], list[FeatureLog]]:
    """The pairs and logs of a shopper in a trainer's folder, while the trainer may be at work; none where there is no folder."""
    with reached(folder / FILE):
        db = open_to_read(folder)
        if db is None:
            return [], []
        try:
            pairs = db.execute("SELECT pair_id, body FROM pairs WHERE pseudonym = ? ORDER BY at_ms, seq", (pseudonym,)).fetchall()
            logs = db.execute("SELECT log_id, body FROM logs WHERE pseudonym = ? ORDER BY at_ms, log_id", (pseudonym,)).fetchall()
            opened = [[open_body(seal, pseudonym, *row) for row in rows] for rows in (pairs, logs)]
        finally:
            db.close()
            if seal is not None:
                seal.close()
    found = [[msgspec.msgpack.decode(body) for body in bodies if body is not None] for bodies in opened]
    return found[0], found[1]
