"""A log in JSON is nothing but objects with the same fields; and no log, in text or JSON, quotes what was processed."""

from __future__ import annotations

import doctest
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams import logs
from streams.broker.embedded import EmbeddedBroker
from streams.errors import ConfigurationError
from streams.logs import JsonLines, TextLines, told_traceback
from tests.support import ROOT
from tests.support.deployment import Deployment, deployed
from tests.support.waiting import wait_until

FIELDS = ["timestamp", "level", "logger", "message", "stage", "worker", "exception"]
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SHOPPER = "alice@example.org"


def parsed(text: str) -> list[dict[str, Any]]:
    """The lines of a log, each of which must be an object with all fields."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert list(line) == FIELDS and MOMENT.fullmatch(line["timestamp"]), line
        assert line["level"] in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL") and line["logger"] and line["message"]
    return found


def raised() -> BaseException:
    """Of the product, because of one that is not, while another was handled; all with messages."""
    try:
        try:
            try:
                {}[SHOPPER]
            except KeyError:
                int(SHOPPER)
        except ValueError as error:
            raise ConfigurationError("this is wrong; do that") from error
    except ConfigurationError as error:
        return error
    raise AssertionError


def record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    told = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("streams.x", logging.WARNING, __file__, 1, message, values, told)


def test_a_line_has_all_fields() -> None:
    line = JsonLines("profile", "w1").format(record("read %d\nof %s", 3, "商店\x1b[2J"))
    assert "\n" not in line and line.isascii()
    (found,) = parsed(line)
    assert found == {
        "timestamp": found["timestamp"],
        "level": "WARNING",
        "logger": "streams.x",
        "message": "read 3\nof 商店\x1b[2J",
        "stage": "profile",
        "worker": "w1",
        "exception": None,
    }


@pytest.mark.parametrize("form", [TextLines(), JsonLines(None, None)], ids=["text", "json"])
def test_no_message_of_a_foreign_exception_is_told(form: logging.Formatter) -> None:
    text = form.format(record("it failed", error=raised()))
    assert SHOPPER not in text and "alice" not in text
    for word in ("KeyError", "ValueError", "ConfigurationError: this is wrong; do that", "test_logs.py", "in raised"):
        assert word in text


def test_exceptions_in_a_group_are_told_alike() -> None:
    told = told_traceback(ExceptionGroup(SHOPPER, [raised(), KeyError(SHOPPER)]))
    assert SHOPPER not in told and told.count("one of the group:") == 2 and told.startswith("ExceptionGroup\n")


def test_a_circle_of_causes_ends() -> None:
    one, other = KeyError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert told_traceback(one) == "ValueError\nwhich is why:\nKeyError"
    assert doctest.testmod(logs).failed == 0


def test_a_line_that_can_not_be_put_together_is_told_without_its_values() -> None:
    (found,) = parsed(JsonLines(None, None).format(record("%d events", SHOPPER)))
    assert found["message"] == "%d events"


def ran(code: str, **variables: str) -> str:
    """Standard error of a process."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT), **variables}, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stderr


ODD = f"""
import gc, logging, threading, warnings
from streams.logs import begin_logs
begin_logs("ingest")
warnings.warn("an old way")
def fail(): raise KeyError("{SHOPPER}")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Bad:
    def __del__(self): fail()
Bad(); gc.collect()
"""


def test_what_no_code_of_ours_writes_is_json_too() -> None:
    """Warnings of libraries, and exceptions that nothing handles in threads and destructors."""
    text = ran(ODD, VEILSTREAM_LOG_FORMAT="JSON", VEILSTREAM_INSTANCE_ID="w1")
    warning, thread, destructor = parsed(text)
    assert SHOPPER not in text
    assert warning["message"] == "UserWarning: an old way (<string>:5)" and warning["logger"] == "py.warnings"
    assert thread["message"] == "an exception that nothing handles ended a thread" and "KeyError" in thread["exception"]
    assert "can't raise" in destructor["message"] and destructor["exception"].endswith("KeyError")
    assert {(line["stage"], line["worker"]) for line in (warning, thread, destructor)} == {("ingest", "w1")}


def test_logs_of_whoever_runs_a_command_inside_of_a_program_stay() -> None:
    code = "import logging; logging.basicConfig(format='own %(message)s')\nfrom streams.logs import begin_logs, is_json, follow_settings\n"
    code += "begin_logs('ingest'); follow_settings('DEBUG', 'json'); logging.warning('x %s', is_json()); logging.info('no')"
    assert ran(code, VEILSTREAM_LOG_FORMAT="json") == "own x False\n"


def broken(folder: Path, *words: str, **variables: str) -> list[dict[str, Any]]:
    """What a command that can't work logs, in a folder with nothing in it."""
    shop = Deployment(folder, "127.0.0.1:1", "", {"VEILSTREAM_LOG_FORMAT": "json", **variables})
    done = shop.command(*words, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return parsed(done.stderr)


@pytest.mark.parametrize(
    ("words", "stage", "what"),
    [
        (["worker", "--stage", "ingest"], "ingest", "recovery.pub is missing"),
        (["worker", "--stage", "ingest", "--stage", "feedback"], None, "ended; its message is above"),
        (["trainer", "--once"], "trainer", "models.key is missing"),
        (["console", "--worker", "nonsense:x"], "console", "--worker must be HOST:PORT"),
    ],
    ids=["a worker", "several", "the trainer", "the console"],
)
def test_what_ends_a_command_is_a_line_of_its_log(tmp_path: Path, words: list[str], stage: str | None, what: str) -> None:
    lines = broken(tmp_path, *words, VEILSTREAM_INSTANCE_ID="w1")
    assert (lines[-1]["level"], lines[-1]["stage"], lines[-1]["worker"]) == ("ERROR", stage, "w1")
    assert what in " ".join(line["message"] for line in lines)
    assert lines[-1]["exception"].endswith(lines[-1]["message"])


def test_a_setting_that_is_wrong_or_none_is_a_line_too(tmp_path: Path) -> None:
    shop = Deployment(tmp_path, "127.0.0.1:1", "", {"VEILSTREAM_LOG_FORMAT": "json", "VEILSTREAM_K": "many"})
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "--debug", "worker", "--stage", "ingest"],
        env={**shop.environment, "VEILSTREAM_TOPK": "5"},
        capture_output=True,
        text=True,
        check=False,
    )
    unknown, wrong = parsed(done.stderr)
    assert "VEILSTREAM_TOPK is not a setting" in unknown["message"] and "VEILSTREAM_K: " in wrong["message"]


@pytest.mark.slow
def test_a_whole_worker_logs_nothing_but_json(tmp_path: Path) -> None:
    """From its start to its end; and with a broker that goes away."""
    with EmbeddedBroker() as broker:
        settings = {"VEILSTREAM_IDEMPOTENT_PRODUCER": "false", "VEILSTREAM_LOG_FORMAT": "json", "VEILSTREAM_INSTANCE_ID": "w1"}
        with deployed(tmp_path, broker.bootstrap_servers, "", **settings) as shop:
            shop.start("ingest", "feedback")
            assert shop.stop("ingest") == {"ingest": 0}
            broker.stop()
            assert shop.stop("feedback")["feedback"] in (0, 1)
    for stage in ("ingest", "feedback"):
        lines = parsed(shop.log(stage).read_text())
        assert {(line["stage"], line["worker"]) for line in lines} == {(stage, "w1")}
        assert f"{stage}: started" in [line["message"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "stages", "awaited"),
    [
        (["trainer"], {"trainer"}, "following the topics"),
        (["worker", "--stage", "learning", "--console"], {"learning", "console"}, "learning: started"),
    ],
    ids=["the trainer", "a worker with the console"],
)
def test_all_that_a_command_starts_logs_json(tmp_path: Path, words: list[str], stages: set[str], awaited: str) -> None:
    """Standard output and error, as a container has them."""
    settings = {"VEILSTREAM_IDEMPOTENT_PRODUCER": "false", "VEILSTREAM_LOG_FORMAT": "json", "VEILSTREAM_METRICS_PORT": "0"}
    with EmbeddedBroker() as broker, deployed(tmp_path, broker.bootstrap_servers, "", VEILSTREAM_CONSOLE_PORT="0", **settings) as shop:
        log = tmp_path / "all.log"
        with log.open("wb") as file:
            command = [sys.executable, "-m", "streams.cli.main", *words]
            process = subprocess.Popen(command, env=shop.environment, cwd=tmp_path, stdout=file, stderr=file)
        wanted = (awaited, "the console is at") if "console" in stages else (awaited,)
        try:
            wait_until(lambda: process.poll() is not None or all(text in log.read_text() for text in wanted), log.read_text)
        finally:
            process.terminate()
        assert process.wait(60) == 0
    assert {line["stage"] for line in parsed(log.read_text())} == stages
