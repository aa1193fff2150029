"""``veilstream audit`` on a broker: what commands and workers write, what is found when somebody tampers with it, the report."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from streams import topics
from streams.audit.chain import ChainId, Head, next_link
from streams.audit.trail import StageTrail
from streams.broker.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.engine.records import BatchResult, MemoryRecord
from streams.errors import ConfigurationError, FatalError, TransientError
from streams.privacy.keys import load_stage_signing_key
from streams.serde import local_codecs
from streams.settings import load_kafka_settings, load_settings
from streams.wiring.stages import Bootstrap
from tests.support.deployment import read_topic
from tests.support.profile_harness import MemoryState, event

CODEC = local_codecs().for_topic(topics.PRIVACY_AUDIT)
Capture = pytest.CaptureFixture[str]
EVIL = "<script>alert(1)</script>|[x](http://evil.example)\x1b[2J"


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


class Shop:
    """Topics under a prefix of their own, with keys."""

    def __init__(self, servers: str, prefix: str, folder: Path) -> None:
        self.servers, self.prefix, self.folder = servers, prefix, folder
        self.trail = self.stage_trail()
        self.state = MemoryState()
        self.offset = 0

    def stage_trail(self, name: str = "profile") -> StageTrail:
        return StageTrail(name, load_stage_signing_key(self.folder / "keys" / f"{name}.key", name), CODEC)  # type: ignore[arg-type]

    def publish(self, *records: tuple[bytes | None, bytes | None], topic: str = topics.PRIVACY_AUDIT) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.servers)
            await producer.start()
            for key, value in records:
                await producer.send_and_wait(self.prefix + topic, value=value, key=key)
            await producer.stop()

        asyncio.run(send())

    def act(self, action: str, subject: str | None = "k1.anna", **details: str) -> tuple[bytes, bytes]:
        """A link of the profile stage's, as a handler makes it; it is not written."""
        record = MemoryRecord(topics.BEHAVIOUR_CLEAN, 0, self.offset, 1_795_755_600_000 + self.offset, b"k", b"v")
        self.offset += 1
        page, result = self.trail.open([record], self.state), BatchResult()
        page.append(record, action, subject, details)
        page.close(result)
        self.state.write(result.state)
        (output,) = result.outputs
        return output.key or b"", output.value or b""

    def records(self) -> Sequence[ConsumerRecord[bytes | None, bytes | None]]:
        return asyncio.run(read_topic(self.servers, self.prefix + topics.PRIVACY_AUDIT))

    def links(self) -> list[dict[str, Any]]:
        return [CODEC.decode(record.value, record.headers) for record in self.records()]

    def made_anew(self, monkeypatch: pytest.MonkeyPatch, *records: tuple[bytes | None, bytes | None]) -> None:
        """The topic as somebody makes it again who may do everything with the brokers, and has no key."""
        self.prefix = f"t{uuid.uuid4().hex[:8]}."
        monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", self.prefix)
        assert run(["topics", "create"]) == 0
        self.publish(*records)


def opened(servers: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Shop:
    for name in list(os.environ):
        if name.startswith(("VEILSTREAM_", "KAFKA_")):
            monkeypatch.delenv(name)
    prefix = f"t{uuid.uuid4().hex[:8]}."
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(folder / "keys"))
    monkeypatch.setenv("VEILSTREAM_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("VEILSTREAM_METRICS_PORT", "0")
    assert run(["topics", "create"]) == 0
    assert run(["keys", "generate"]) == 0
    capsys.readouterr()
    return Shop(servers, prefix, folder)


@pytest.fixture
def shop(broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Shop:
    monkeypatch.delenv("VEILSTREAM_IDEMPOTENT_PRODUCER", raising=False)
    made = opened(broker.bootstrap_servers, tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("VEILSTREAM_IDEMPOTENT_PRODUCER", "false")
    return made


def test_an_empty_topic_is_right(shop: Shop, capsys: Capture) -> None:
    assert run(["audit", "verify"]) == 0
    assert capsys.readouterr().out == "all is right: 0 links in 0 chains\n"


def test_what_was_written_is_verified_and_compared_next_time(shop: Shop, capsys: Capture) -> None:
    shop.publish(*[shop.act("erased") for _ in range(5)])
    anchors = shop.folder / "anchors.json"
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "all is right: 5 links in 1 chains\n" and "not there yet" in captured.err
    assert stat.S_IMODE(anchors.stat().st_mode) == 0o600
    shop.publish(shop.act("erased"))
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 0
    assert "6 links in 1 chains, compared with 1 anchors" in capsys.readouterr().out
    assert json.loads(anchors.read_text())["chains"][0][1] == 5


def test_a_chain_that_got_shorter(shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    links = [shop.act("erased") for _ in range(5)]
    shop.publish(*links)
    anchors = shop.folder / "anchors.json"
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 0
    kept = anchors.read_bytes()
    shop.made_anew(monkeypatch, *links[:3])
    assert run(["audit", "verify"]) == 0, "nothing in the topic itself tells"
    capsys.readouterr()
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 1
    out = capsys.readouterr().out
    assert (
        out.startswith("cut off: profile behaviour.clean/0@0 3: link 2 is the last; the anchor file of 20")
        and "NOT right: 1 cut off" in out
    )
    assert anchors.read_bytes() == kept, "what is wrong does not become what is known"


def test_every_wrong_record_is_named(shop: Shop, capsys: Capture) -> None:
    links = [shop.act("erased") for _ in range(6)]
    forged = next_link(Head(0, bytes(32)), ChainId("profile", "behaviour.clean/0@0"), shop.trail._signing_key, action="erased", at_ms=1)
    altered = CODEC.encode({**CODEC.decode(links[4][1]), "subject": "k1.ben"})
    shop.publish(links[0], links[2], links[1], links[0], (b"profile", altered), links[5], (b"profile", b"rubbish"), (b"profile", None))
    shop.publish((b"profile", CODEC.encode({**forged.record, "signature": b""})))
    assert run(["audit", "verify", "--json"]) == 1
    *findings, summary = map(json.loads, capsys.readouterr().out.splitlines())
    named = {(one["wrong"], one["offset"], one["sequence"]) for one in findings}
    assert named == {
        *(("reordered", 2, 1), ("doubled", 3, 0), ("altered or forged", 4, 4), ("unreadable", 6, None)),
        *(("unreadable", 7, None), ("altered or forged", 8, 1), ("removed", 5, 3)),
    }
    assert {one["partition"] for one in findings} == {shop.records()[0].partition}
    assert summary["right"] is False and summary["records"] == 9 and summary["links"] == 5
    assert run(["audit", "verify"]) == 1
    assert "altered or forged: " in capsys.readouterr().out


def test_verifying_needs_public_keys(shop: Shop, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(shop.act("erased"))
    old = shop.folder / "old"
    old.mkdir()
    (shop.folder / "keys" / "profile.pub").rename(old / "profile.pub")
    assert run(["audit", "verify"]) == 1
    assert "there is no public key of its stage" in capsys.readouterr().out
    assert run(["keys", "generate", "--only", "profile", "--overwrite"]) == 0
    assert run(["audit", "verify"]) == 1
    assert "changed, or not signed by profile" in capsys.readouterr().out
    assert run(["audit", "verify", "--keys", str(old)]) == 0
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(tmp_path / "empty"))
    assert run(["audit", "verify"]) == 1
    assert "no public key is in" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1, "verified_at": "", "chains": [["profile", 1, "ff"]]}', '{"format": 9}'])
def test_an_anchor_file_that_is_none(shop: Shop, capsys: Capture, content: str) -> None:
    anchors = shop.folder / "anchors.json"
    anchors.write_text(content)
    anchors.chmod(0o600)
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 1
    err = capsys.readouterr().err
    assert "anchor file" in err and "Traceback" not in err
    assert anchors.read_text() == content


def test_an_anchor_file_that_others_may_write(shop: Shop, capsys: Capture) -> None:
    anchors = shop.folder / "anchors.json"
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 0
    anchors.chmod(0o666)
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 1
    assert "may be written by others" in capsys.readouterr().err


def test_show_lists_what_is_asked_for(shop: Shop, capsys: Capture) -> None:
    shop.publish(shop.act("erased", "k1.anna", request_id="r1"), shop.act("consent", "k1.ben", training="true"))
    assert run(["audit", "show"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run(["audit", "show", "--action", "erased", "--stage", "profile"]) == 0
    assert capsys.readouterr().out == '2026-11-27T05:00:00.000Z profile behaviour.clean/0@0 0 erased k1.anna request_id="r1"\n'
    assert run(["audit", "show", "--subject", "k1.ben", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["details"] == {"training": "true"}
    assert run(["audit", "show", "--stage", "ingest"]) == 0
    assert capsys.readouterr().out == ""
    shop.publish((b"profile", b"rubbish"))
    assert run(["audit", "show"]) == 0
    assert "veilstream audit verify" in capsys.readouterr().err


def test_a_command_tells_what_it_did(shop: Shop, capsys: Capture) -> None:
    shop.publish(shop.act("erased"), shop.act("erased"))
    assert run(["recover", "--replay", "--reason", "bad_item", "--set", "item_id=i"]) == 0
    links = [link for link in shop.links() if link["stage"] == "operators"]
    assert [(link["sequence"], link["action"]) for link in links] == [(0, "started"), (1, "replaying"), (2, "replayed"), (3, "stopped")]
    details = links[0]["details"]
    assert details["command"] == "recover" and len(details["settings"]) == 64 and len(details["key operators"]) == 16
    assert details["head profile behaviour.clean/0@0"].startswith("1 "), "it anchors what was written to last"
    assert "setting VEILSTREAM_TOPIC_PREFIX" in details and shop.prefix not in json.dumps(details), "names and hashes, no values"
    assert links[1]["details"] == {"accept_unsigned": "false", "fields_set": "item_id", "reasons": "bad_item", "shown": "false"}
    assert links[3]["details"] == {"outcome": "ok"}
    assert run(["audit", "verify"]) == 0
    assert run(["recover"]) == 0
    assert len([link for link in shop.links() if link["stage"] == "operators"]) == 4, "what only lists opens nothing"


def test_what_ended_with_an_error_says_so(shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise ConfigurationError("the key of alice@example.org does not fit")

    monkeypatch.setattr("streams.cli.recover._handle", fail)
    shop.publish((b"k", local_codecs().for_topic(topics.DEAD_LETTER).encode(LETTER)), topic=topics.DEAD_LETTER)
    assert run(["recover", "--show"]) == 1
    assert [link["details"] for link in shop.links() if link["action"] == "stopped"] == [{"outcome": "ConfigurationError"}]


def test_the_end_of_a_chain_is_known_to_the_command_after_it(shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    links = [shop.act("erased") for _ in range(3)]
    shop.publish(*links)
    assert run(["recover", "--show"]) == 0
    told = [(record.key, record.value) for record in shop.records() if record.key == b"operators"]
    shop.made_anew(monkeypatch, links[0], *told)
    capsys.readouterr()
    assert run(["audit", "verify"]) == 1
    assert "cut off: profile behaviour.clean/0@0 1: link 0 is the last; the link at " in capsys.readouterr().out


def test_without_its_key_a_command_is_not_in_the_audit(shop: Shop, capsys: Capture) -> None:
    (shop.folder / "keys" / "operators.key").unlink()
    assert run(["recover", "--show"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("this is not in the audit") == 1 and "veilstream keys generate --only operators" in captured.err
    assert shop.links() == []


def test_what_the_audit_cannot_have_is_not_done(shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.audit.topic.write_record", refuse)
    codec = local_codecs().for_topic(topics.DEAD_LETTER)
    shop.publish((b"k", codec.encode(LETTER)), topic=topics.DEAD_LETTER)
    assert run(["recover", "--show"]) == 1
    captured = capsys.readouterr()
    assert "did not acknowledge" in captured.err and captured.out == ""


LETTER = {
    "dead_letter_id": "0" * 32,
    "reason": "bad_item",
    "stage": "ingest",
    "source_topic": "behaviour.raw",
    "source_partition": 0,
    "source_offset": 1,
    "source_timestamp": 1,
    "sealed_original": None,
    "rejected_at": 1,
}


@pytest.mark.slow
async def test_a_worker_tells_that_it_runs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process itself, without the command around it."""
    monkeypatch.setenv("VEILSTREAM_REGISTRY_HEADERS", "Authorization=hunter2")
    monkeypatch.setenv("VEILSTREAM_SESSION_TIMEOUT_S", "6")
    process = Bootstrap(load_settings(), load_kafka_settings()).process("feedback")
    stop = asyncio.Event()
    running = asyncio.create_task(process.run(stop, loaded=stop.set))
    await running
    links = [link for link in await asyncio.to_thread(shop.links)]
    assert [(link["stage"], link["sequence"], link["action"]) for link in links] == [("feedback", 0, "started"), ("feedback", 1, "stopped")]
    details = links[0]["details"]
    assert {name for name in details if name.startswith("key ")} == {"key feedback", "key recovery", "key state"}
    assert "setting VEILSTREAM_REGISTRY_HEADERS" not in details
    assert links[1]["details"] == {"outcome": "ok"}


async def test_a_worker_that_the_audit_cannot_have_does_not_start(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.audit.topic.write_record", refuse)
    process = Bootstrap(load_settings(), load_kafka_settings()).process("feedback")
    with pytest.raises(FatalError, match="can't be written to the audit: the broker did not acknowledge"):
        await process.run(asyncio.Event(), loaded=lambda: pytest.fail("it went on"))
    assert await asyncio.to_thread(shop.links) == []


async def refuse(*_: Any, **__: Any) -> None:
    raise TransientError("the broker did not acknowledge the record")


@pytest.mark.slow
def test_a_report_of_everything(shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_SOURCE_TOPICS", "raw.web=segment")
    folder = shop.folder / "out"
    assert run(["audit", "report", "--out", str(folder)]) == 0
    for path in folder.iterdir():
        text = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert text.count("None yet.") == 7 and "All is right" in text and "privacy" in text
    shop.publish(
        shop.act("erased", requested_at="1795755500000"),
        shop.act("consent", "k1.ben", recommendation="true", training="false"),
        shop.act("k", None, what="pairs", k="20"),
        shop.act("promoted", "v7", channel="stable", parent="v6", reason=EVIL),
    )
    assert run(["recover", "--show"]) == 0
    capsys.readouterr()
    assert run(["audit", "show", "--action", "promoted"]) == 0
    assert "\x1b" not in (shown := capsys.readouterr().out) and "\\u001b" in shown
    shop.publish((b"profile", b"rubbish"))
    assert run(["audit", "report", "--out", str(folder)]) == 1
    page, markdown = (next(folder.glob(f"audit-*.{ending}")).read_text() for ending in ("html", "md"))
    assert "<script" not in page + markdown and "\x1b" not in page + markdown and "[x](" not in markdown
    assert "&lt;script&gt;" in page and "<svg" in page and "default-src" in page
    for text in (page, markdown):
        for said in ("NOT right: 1 findings", "100 s", "k1.anna", "recommendation", "v7", "v6", "operators", "raw ids", "raw.web", "1 day"):
            assert said in text, said
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "").replace("http://evil.example", "")


@pytest.mark.kafka
@pytest.mark.slow
def test_a_proof_is_written_and_checked_without_a_broker(
    shop: Shop, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish(*(shop.act("erased", f"k1.{who}", request_id=f"t-{who}") for who in ("ben", "anna", "carl")))
    proof = tmp_path / "proof.json"
    assert run(["audit", "prove", "k1.anna", "--out", str(proof)]) == 0
    assert "1 links of 1 chains" in capsys.readouterr().out and proof.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert run(["audit", "check-proof", str(proof)]) == 0
    out = capsys.readouterr().out
    assert "profile erased" in out and "t-anna" in out and "about k1.anna" in out and "t-ben" not in out
    proof.write_text(proof.read_text().replace("t-anna", "t-hans"))
    assert run(["audit", "check-proof", str(proof)]) == 1
    assert "WRONG: link 0: profile did not sign it" in capsys.readouterr().out
    proof.write_text("{}")
    assert run(["audit", "check-proof", str(proof)]) == 1
    assert "no proof" in capsys.readouterr().err


def test_of_what_is_not_right_or_not_there_no_proof_is_written(shop: Shop, capsys: Capture, tmp_path: Path) -> None:
    shop.publish(shop.act("erased", "k1.anna"))
    assert run(["audit", "prove", "k1.nobody", "--out", str(tmp_path / "p")]) == 1
    shop.act("erased", "k1.ben")  # that is never written
    shop.publish(shop.act("erased", "k1.carl"))
    assert run(["audit", "prove", "k1.anna", "--out", str(tmp_path / "p")]) == 1
    assert "not all is right" in capsys.readouterr().err and not (tmp_path / "p").exists()


def test_how_many_shoppers_share_what_is_told(shop: Shop, capsys: Capture) -> None:
    codec = local_codecs().for_topic(topics.BEHAVIOUR_CLEAN)
    crowd = [event(n, f"u{n % 6}", "view", "i1") | {"country": "DE"} for n in range(12)]
    shop.publish(*((one["pseudonym"].encode(), codec.encode(one)) for one in crowd), topic=topics.BEHAVIOUR_CLEAN)
    assert run(["audit", "k"]) == 0
    assert "price and place: told 12 times, at least 6 shoppers share it; 0 times fewer than 5" in capsys.readouterr().out
    lonely = event(20, "u9", "view", "i1") | {"country": "IS"}
    shop.publish((lonely["pseudonym"].encode(), codec.encode(lonely)), (b"x", b"rubbish"), topic=topics.BEHAVIOUR_CLEAN)
    assert run(["audit", "k", "--json"]) == 1
    first, *_ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["attribute"], first["least"], first["below"], first["k"]) == ("price and place", 1, 1, 5)
    told = [link["details"] for link in shop.links() if link["action"] == "k"]
    assert [one["below"] for one in told if one["attribute"] == "price and place"] == ["0", "1"]
    assert "Least number of shoppers" in _report(shop)


def _report(shop: Shop) -> str:
    folder = shop.folder / "report"
    assert run(["audit", "report", "--out", str(folder)]) == 0
    page = next(folder.glob("*.md")).read_text(encoding="utf-8")
    assert "attribute price and place, below 1, k 5" in page
    return page


def test_on_apache_kafka(kafka: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """With the idempotent producer, several partitions, and anchors in a file."""
    shop = opened(kafka.bootstrap_servers, tmp_path, monkeypatch, capsys)
    shop.publish(*[shop.act("erased") for _ in range(300)])
    assert run(["recover", "--show"]) == 0
    anchors = tmp_path / "anchors.json"
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 0
    assert "304 links in 2 chains" in capsys.readouterr().out
    shop.publish((b"profile", CODEC.encode({**CODEC.decode(shop.act("erased")[1]), "subject": "k1.other"})))
    assert run(["audit", "verify", "--anchors", str(anchors)]) == 1
    assert "altered or forged" in capsys.readouterr().out
