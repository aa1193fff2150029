"""``veilstream audit``: the chains of the topic ``privacy.audit``, verified, shown, and as a report."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli.completing import auditors, offering
from streams.cli.progress import Progress
from streams.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nacl.signing import VerifyKey

    from streams.audit.verifier import Finding, Verifier
    from streams.engine.records import SourceRecord
    from streams.settings import KafkaSettings, Settings

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_keys_option = click.option(
    "--keys",
    "key_folders",
    multiple=True,
    type=_FOLDER,
    help="Folder with public keys, besides VEILSTREAM_KEYS_DIR: those that were replaced (repeatable).",
)


@click.group(name="audit")
def command() -> None:
    """Verify, show and report what was done, by whom and when.

    The topic privacy.audit holds chains of signed links: what the stages did with their records, what every run of a worker, of the trainer
    and of a command did. The public keys of the stages, models.pub and operators.pub must be in VEILSTREAM_KEYS_DIR.
    """


@command.command()
@click.option(
    "--anchors",
    "anchor_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Compare with the heads of all chains in FILE, and write the new ones into it if all is right. Keep it where nobody who may write "
    "to the brokers can reach it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per finding, and one at the end.")
@_keys_option
def verify(anchor_file: Path | None, as_json: bool, key_folders: tuple[Path, ...]) -> int:
    """Read the whole topic and check every link of every chain.

    Names every record that was removed, altered, reordered, doubled or forged: what is wrong, partition/offset, chain, number. The exit
    code is then 1. Without --anchors the end of a chain may be missing and nothing tells, unless another chain knows of it.
    """
    from streams.audit.anchors import read_anchors, write_anchors

    settings, kafka, keys = _opened(key_folders)
    anchors = [] if anchor_file is None else read_anchors(anchor_file)
    if anchor_file is not None and not anchor_file.exists():
        click.echo(visible(f"{anchor_file} is not there yet: the topic is compared with nothing but itself"), err=True)

    def tell(finding: Finding) -> None:
        click.echo(visible(json.dumps(_finding_object(finding)) if as_json else _finding_line(finding)))

    verifier = _verified(settings, kafka, keys, anchors=anchors, tell=tell)
    heads = verifier.heads()
    if verifier.is_right and anchor_file is not None:
        write_anchors(anchor_file, heads, links=verifier.links, verified_at=_now())
    for source in verifier.begun_again():
        click.echo(visible(f"note: {source} has more than one chain: the state of the partition was lost in between"), err=True)
    if as_json:
        counts = {str(wrong): count for wrong, count in sorted(verifier.counts.items())}
        summary = {"right": verifier.is_right, "records": verifier.records, "links": verifier.links, "chains": len(heads), "wrong": counts}
        click.echo(json.dumps(summary))
    elif verifier.is_right:
        compared = f", compared with {len(anchors)} anchors of {anchor_file}" if anchors else ""
        click.echo(visible(f"all is right: {verifier.links:,} links in {len(heads):,} chains{compared}"))
    else:
        what = ", ".join(f"{count:,} {wrong}" for wrong, count in sorted(verifier.counts.items()))
        click.echo(f"NOT right: {what}; {verifier.links:,} links of {verifier.records:,} records are signed")
    return 0 if verifier.is_right else 1


@command.command()
@click.option("--stage", shell_complete=offering(auditors), help="Only links of this stage, of trainer, or of operators.")
@click.option("--action", help="Only links with this action.")
@click.option("--subject", help="Only links about this pseudonym or model version.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per link.")
@_keys_option
def show(stage: str | None, action: str | None, subject: str | None, as_json: bool, key_folders: tuple[Path, ...]) -> None:
    """List the links, each partition's in order. Only those that their stage signed; `audit verify` names the others."""
    settings, kafka, keys = _opened(key_folders)
    wanted = {name: value for name, value in (("stage", stage), ("action", action), ("subject", subject)) if value is not None}

    def tell(link: Mapping[str, Any], record: SourceRecord) -> None:
        if all(link[name] == value for name, value in wanted.items()):
            click.echo(link_line(link, record, as_json=as_json))

    verifier = _verified(settings, kafka, keys, on_link=tell)
    if not verifier.is_right:
        click.echo("not all is right: see `veilstream audit verify`", err=True)


@command.command()
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the report.")
@click.option(
    "--anchors", "anchor_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Compare with FILE, as verify does."
)
@_keys_option
def report(folder: Path, anchor_file: Path | None, key_folders: tuple[Path, ...]) -> int:
    """Write a dated report, as HTML and as Markdown.

    It says what was done by whom, what the verification found, who may read what and for how long, which models served, which keys were in
    use, and what is known of consent and erasure. The exit code is 1 if the verification found something.
    """
    from streams.audit.anchors import read_anchors
    from streams.audit.report import Gathered, write_report
    from streams.topics import item_topics, raw_topics, with_raw

    settings, kafka, keys = _opened(key_folders)
    gathered = Gathered()
    anchors = [] if anchor_file is None else read_anchors(anchor_file)
    verifier = _verified(settings, kafka, keys, anchors=anchors, tell=gathered.take_finding, on_link=gathered.take_link)
    topics = with_raw(raw_topics(settings.source_topics), item_topics(settings.items_source_topics))
    for path in write_report(folder, gathered, verifier, _now(), compared=len(anchors), topics=topics):
        click.echo(visible(f"wrote {path}"))
    return 0 if verifier.is_right else 1


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per attribute.")
def k(as_json: bool) -> int:
    """Count how many shoppers share what the clean events tell.

    Reads behaviour.clean and training.pairs to their ends: for each event that tells a price, a place or an exact time, how many shoppers
    that may be, and for each query in a training pair, how many shoppers made it. The result goes into the audit and its report. Use the
    settings of the workers of ingest (VEILSTREAM_K and its kin). The exit code is 1 if anything is told that fewer than VEILSTREAM_K share.
    """
    from streams.audit.actions import K, anonymity_details
    from streams.audit.reading import measure_anonymity
    from streams.cli.audited import audited
    from streams.kafka.clients import quiet_client_loggers
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    with audited("audit k", settings, kafka) as told:
        with Progress("the topics") as progress:
            measured = asyncio.run(measure_anonymity(settings, kafka, progress.tell_of))
        for one in measured:
            told.tell(K, details=anonymity_details(settings.k, one))
            shown = one._asdict() | {"k": settings.k}
            least = f"at least {one.least} shoppers share it" if one.told else "nothing is told"
            line = f"{one.attribute}: told {one.told:,} times, {least}; {one.below:,} times fewer than {settings.k}"
            click.echo(json.dumps(shown) if as_json else f"{line}; kept back {one.kept_back:,} times")
    return 1 if any(one.below for one in measured) else 0


@command.command()
@click.argument("subject")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where to write the proof.")
@_keys_option
def prove(subject: str, out: Path, key_folders: tuple[Path, ...]) -> int:
    """Write a proof about SUBJECT, a pseudonym or a model version, for whoever asks for one.

    It holds every link about SUBJECT, such as the receipts of an erasure, and shows with the public keys alone that each stood in its place
    of the audit on this day. It names nobody else. Needs operators.key; made only where `audit verify` finds all right.
    """
    from streams.audit.proofs import Trees
    from streams.clock import SystemClock
    from streams.errors import ConfigurationError
    from streams.files import replace_file
    from streams.privacy.keys import load_stage_signing_key

    settings, kafka, keys = _opened(key_folders)
    key, trees = load_stage_signing_key(settings.keys_dir / "operators.key", "operators"), Trees(subject)
    verifier = _verified(settings, kafka, keys, on_link=trees.take_link)
    if not verifier.is_right:
        click.echo("not all is right, so links may be missing: see `veilstream audit verify`", err=True)
        return 1
    try:
        proof = trees.proof(key, SystemClock().now_ms())
    except ValueError:
        raise ConfigurationError("the audit has no link about this subject; `veilstream audit show` lists all") from None
    try:
        replace_file(out, json.dumps(proof, ensure_ascii=False, indent=1).encode() + b"\n", mode=0o600)
    except OSError as error:
        raise ConfigurationError(f"the proof can't be written to {out} ({error.strerror}); choose another place") from None
    click.echo(visible(f"wrote {out}: {len(proof['links'])} links of {len(proof['trees'])} chains"))
    return 0


@command.command("check-proof")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--anchors", "anchor_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Compare with FILE, too.")
@_keys_option
def check_proof(file: Path, anchor_file: Path | None, key_folders: tuple[Path, ...]) -> int:
    """Check a proof that `audit prove` wrote: without a broker, with the public keys of the stages and of operators.

    The exit code is 1 if anything in it is not so.
    """
    from streams.audit.anchors import read_anchors
    from streams.audit.auditors import verify_keys
    from streams.audit.proofs import check_proof as checked
    from streams.cli.watch import moment
    from streams.errors import ConfigurationError
    from streams.settings import load_settings

    keys = verify_keys([load_settings().keys_dir, *key_folders])
    try:
        proof, wrong = checked(file.read_bytes(), keys, [] if anchor_file is None else read_anchors(anchor_file))
    except ValueError as error:
        raise ConfigurationError(f"{file} can't be used: {error}; ask for it again") from None
    for why in wrong:
        click.echo(visible(f"WRONG: {why}"))
    if not wrong:
        for entry in proof["links"]:
            link = entry["link"]
            click.echo(
                visible(f"{moment(link['occurred_at'])} {link['stage']} {link['action']} {json.dumps(link['details'], ensure_ascii=False)}")
            )
        click.echo(visible(f"all of it stood in the audit at {moment(proof['made_at'])}, about {proof['subject']}"))
    return 1 if wrong else 0


def link_line(link: Mapping[str, Any], record: SourceRecord, *, as_json: bool = False) -> str:
    """A link as one line."""
    from streams.cli.watch import moment

    if as_json:
        shown = {**link, "previous_hash": link["previous_hash"].hex(), "signature": link["signature"].hex()}
        return visible(json.dumps({"partition": record.partition, "offset": record.offset, **shown}, ensure_ascii=False))
    subject = "" if link["subject"] is None else f" {link['subject']}"
    details = "".join(f" {name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(link["details"].items()))
    where = f"{link['stage']} {link['chain']} {link['sequence']}"
    return visible(f"{moment(link['occurred_at'])} {where} {link['action']}{subject}{details}")


def _opened(key_folders: Sequence[Path]) -> tuple[Settings, KafkaSettings, Mapping[str, Sequence[VerifyKey]]]:
    from streams.audit.auditors import verify_keys
    from streams.kafka.clients import quiet_client_loggers
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    settings = load_settings()
    return settings, load_kafka_settings(), verify_keys([settings.keys_dir, *key_folders])


def _verified(settings: Settings, kafka: KafkaSettings, keys: Mapping[str, Sequence[VerifyKey]], **options: Any) -> Verifier:
    from streams.audit.reading import verify_topic

    with Progress("the audit", prints=True) as progress:
        return asyncio.run(verify_topic(settings, kafka, keys, show=progress.tell, **options))


def _finding_object(finding: Finding) -> dict[str, Any]:
    chain = finding.chain
    return {
        "wrong": str(finding.wrong),
        "partition": None if finding.partition < 0 else finding.partition,
        "offset": None if finding.offset < 0 else finding.offset,
        "stage": None if chain is None else chain.stage,
        "chain": None if chain is None else chain.chain,
        "sequence": None if finding.sequence < 0 else finding.sequence,
        "detail": finding.detail,
    }


def _finding_line(finding: Finding) -> str:
    where = "" if finding.partition < 0 else f" {finding.partition}/{finding.offset}"
    chain = "" if finding.chain is None else f" {finding.chain}"
    number = "" if finding.sequence < 0 else f" {finding.sequence}"
    return f"{finding.wrong}:{where}{chain}{number}: {finding.detail}"


def _now() -> str:
    from streams.cli.watch import moment
    from streams.clock import SystemClock

    return moment(SystemClock().now_ms())
