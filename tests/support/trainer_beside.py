"""A trainer as a process beside a deployment, and what it has taken in."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

from tests.support.deployment import Deployment, free_port


@contextlib.contextmanager
def trainer(shop: Deployment) -> Iterator[None]:
    with (shop.folder / "trainer.log").open("ab") as log:
        own = {"VEILSTREAM_METRICS_PORT": str(free_port()), "VEILSTREAM_TRAINER_DIR": str(shop.folder / "trainer")}
        command = [sys.executable, "-m", "streams.cli.main", "trainer"]
        process = subprocess.Popen(command, env={**shop.environment, **own}, cwd=shop.folder, stdout=log, stderr=log)
        try:
            yield
            assert process.poll() is None, (shop.folder / "trainer.log").read_text()[-3000:]
        finally:
            process.terminate()
            process.wait(30)


def pairs(shop: Deployment) -> int:
    with contextlib.suppress(sqlite3.Error):
        db = sqlite3.connect(f"file:{shop.folder / 'trainer' / 'pairs.sqlite'}?mode=ro", uri=True)
        try:
            return int(db.execute("SELECT count(*) FROM pairs").fetchone()[0])
        finally:
            db.close()
    return 0
