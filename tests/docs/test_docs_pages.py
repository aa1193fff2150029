"""The pages of docs/reference are what the code gives, and say all of it."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import pkgutil
import re
from pathlib import Path

import click
import pytest

import docs.generator
from docs.generator import PAGES, readers, settings
from docs.generator.__main__ import FOLDER
from docs.generator.commands import commands
from streams.cli.exit_codes import ExitCode
from streams.cli.main import run
from streams.settings import KafkaSettings, Settings
from streams.topics import TOPICS


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_gives(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "write it anew: make reference"


def test_no_other_page_is_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} - {"README.md"} == set(PAGES)


def test_what_this_machine_has_set_changes_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PAGES["settings.md"](), PAGES["topics.md"]()
    for name, value in {"VEILSTREAM_TOP_K": "3", "VEILSTREAM_APP_PREFIX": "mine", "KAFKA_BOOTSTRAP_SERVERS": "b:1"}.items():
        monkeypatch.setenv(name, value)
    assert (PAGES["settings.md"](), PAGES["topics.md"]()) == before


@pytest.mark.parametrize("name", [name for _, name, _ in pkgutil.iter_modules(docs.generator.__path__) if name != "__main__"])
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"docs.generator.{name}")).failed == 0


def test_every_setting_has_a_line() -> None:
    text = PAGES["settings.md"]()
    expected = [f"KAFKA_{name.upper()}" for name in KafkaSettings.model_fields] + [
        f"VEILSTREAM_{name.upper()}" for name in Settings.model_fields
    ]
    assert sorted(re.findall(r"^\| `((?:KAFKA|VEILSTREAM)_\w+)`", text, re.M)) == sorted(expected)


def test_every_setting_is_read_by_somebody_and_by_whom_it_concerns() -> None:
    who = readers.readers()
    assert set(who) == set(Settings.model_fields)
    assert who["top_k"] == {"profile", "trainer", "commands"}  # the trainer's judging and a backtest rank as profile does
    assert who["source"] == {"ingest", "commands"}
    assert who["throttle_per_minute"] == {"ingest", "commands"}
    assert who["training_cron"] == {"learning"}
    assert who["trainer_max_pairs"] == {"trainer"}
    assert who["attribution_window_s"] == {"feedback", "trainer", "commands"}
    assert who["reseal_per_s"] == {"profile", "feedback", "learning"}
    assert who["fetch_max_records"] == {"ingest", "catalogue", "profile", "feedback", "learning"}
    with pytest.raises(LookupError, match="add its room"):
        readers.who_runs("streams/new_room/thing.py", "f")


def test_a_unit_is_the_one_that_the_meaning_names() -> None:
    """The end of the name and the sentence for people don't differ."""
    for name, field in Settings.model_fields.items():
        unit = settings.unit_of(name)
        if unit:
            word = {"a second": "second", "a minute": "minute", "a day": "day"}.get(unit, unit)
            assert word in (field.description or ""), name


def test_every_topic_has_a_line_and_a_schema() -> None:
    for spec in TOPICS:
        assert f"\n| `{spec.name}` | " in PAGES["topics.md"]()
        assert f"\n## `{spec.name}`\n" in PAGES["schemas.md"]()


def test_every_field_of_every_schema_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", PAGES["schemas.md"](), re.M)
    assert len(rows) > 200
    assert [name for name, meaning in rows if not meaning.strip()] == []


def test_every_command_and_option_has_a_line_with_a_meaning() -> None:
    text = PAGES["commands.md"]()
    for path, command in commands():
        if len(path) == 1:
            continue
        assert f"# `{' '.join(path)}`\n" in text
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{' '.join(path)} {option.opts}"
                assert f"| `{option.opts[0]}`" in text


def test_exit_codes_are_those_that_commands_end_with(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("VEILSTREAM_", "KAFKA_")):
            monkeypatch.delenv(name)
    assert run(["settings", "--json"]) == ExitCode.DONE and json.loads(capsys.readouterr().out)
    assert run(["settings", "--no-such-option"]) == ExitCode.WRONG_USE
    monkeypatch.setenv("VEILSTREAM_PARTITIONS", "many")
    assert run(["settings"]) == ExitCode.FAILED
    monkeypatch.setattr("streams.cli.settings._print_table", interrupt)
    assert run(["settings"]) == ExitCode.INTERRUPTED
    assert [int(code) for code in ExitCode] == [0, 1, 2, 130]


def interrupt(_rows: object) -> None:
    raise KeyboardInterrupt


def test_writing_anew_touches_nothing_that_is_in_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.generator.__main__.FOLDER", tmp_path / "reference")
    write = importlib.import_module("docs.generator.__main__").main
    write()
    assert {path.name for path in (tmp_path / "reference").iterdir()} == set(PAGES)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "reference").iterdir()}
    (tmp_path / "reference" / "topics.md").write_text("edited by hand")
    write()
    changed = [path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    assert changed == ["topics.md"]
    assert (tmp_path / "reference" / "topics.md").read_text(encoding="utf-8") == PAGES["topics.md"]()
