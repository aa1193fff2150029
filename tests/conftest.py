"""Fixtures of all tests: Apache Kafka once a session, the shared data."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.apache_kafka import ApacheKafka
from tests.support.apicurio import Apicurio
from tests.support.deployment import Deployment, deployed
from tests.support.maven import JavaMissing

# A busy machine is no failure of a property.
settings.register_profile("untimed", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))


@pytest.fixture(scope="session", autouse=True)
def umask() -> Iterator[None]:
    """Key and password files that their group may write are refused: tests write theirs as most machines would."""
    before = os.umask(0o022)
    yield
    os.umask(before)


RETAIL = "online_retail_2010_2011"
IS_LONG = os.environ.get("LONG") == "1"
"""Whether the longest tests run whole: all purchases of a year, a ranker fitted to them, a hundred thousand schedules."""
LONGEST = ("test_retail_year.py", "test_backtest_quality.py", "test_delivery_kill.py", "test_schedules.py")
"""Files that take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then what is slow: with several processes, none has a long test left when the others have none."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST) + (not is_slow(item)))


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None or item.get_closest_marker("kafka") is not None


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Apache Kafka. Skipped where Java or Maven is missing; with CI=true that is a failure."""
    with needs_java():
        broker = ApacheKafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    """A real schema registry, empty at first. Skipped as above."""
    with needs_java():
        registry = Apicurio(tmp_path_factory.mktemp("apicurio"))
    registry.start()
    yield registry
    registry.stop()


@contextmanager
def needs_java() -> Iterator[None]:
    try:
        yield
    except JavaMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def deployment(kafka: ApacheKafka, tmp_path: Path) -> Iterator[Deployment]:
    """A Veilstream of its own on the session's broker: keys and topics are made, nothing runs yet."""
    with deployed(tmp_path / "deployment", kafka.bootstrap_servers, f"t{uuid.uuid4().hex[:8]}.") as prepared:
        yield prepared


@pytest.fixture(scope="session")
def is_long() -> bool:
    return IS_LONG


@pytest.fixture(scope="session")
def retail() -> Path:
    """The shared year of purchases; skipped, and said so, where it is not there."""
    folder = Path(os.environ.get("VEILSTREAM_DATA", Path(__file__).resolve().parents[1] / ".." / "shared" / "data")) / RETAIL
    if not folder.is_dir():
        pytest.skip(f"the shared data is not at {folder}; set VEILSTREAM_DATA")
    return folder.resolve()
