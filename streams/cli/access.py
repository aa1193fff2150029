"""``veilstream access``: rights at the broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from streams.access.principals import Principals
    from streams.access.rights import Right
    from streams.settings import Settings

ROLE_NAMES = (
    *("ingest", "catalogue", "profile", "feedback", "learning", "trainer"),
    *("producers", "subscribers", "analysts", "operators", "privacy", "console"),
)
_PRINCIPAL = click.option(
    "--principal",
    "given",
    multiple=True,
    metavar="ROLE=User:NAME",
    help="Whose rights they are. Repeat the option for several. Default: User:<VEILSTREAM_APP_PREFIX>-<role>.",
)
_OLD = click.option("--idempotent-write", is_flag=True, help="Add the right that idempotent producers need at brokers before Kafka 2.8.")


_Command = TypeVar("_Command", bound=Callable[..., Any])


def _stage(many: bool) -> Callable[[_Command], _Command]:
    return click.option(
        "--stage",
        "roles" if many else "role",
        multiple=many,
        required=not many,
        type=click.Choice(ROLE_NAMES),
        help="Only this role. Repeat the option for several. Default: all." if many else "Whose rights the credentials should have.",
    )


@click.group(name="access")
def command() -> None:
    """Print, explain and check the rights of every stage at the broker.

    Each stage has credentials of its own, and so have the trainer and the six kinds of clients: producers, subscribers, analysts,
    operators, the console, and privacy, who answers shoppers' requests. Each of these roles needs few rights; they follow from the table
    of topics and from the settings that name topics and groups (VEILSTREAM_TOPIC_PREFIX, VEILSTREAM_APP_PREFIX, VEILSTREAM_SOURCE_TOPICS,
    VEILSTREAM_ITEMS_SOURCE_TOPICS): set them as the stages have them. docs/access.md has a worked example.
    """


@command.command()
@_stage(many=True)
@_PRINCIPAL
@_OLD
@click.option(
    "--format",
    "form",
    type=click.Choice(["commands", "json", "strimzi"]),
    default="commands",
    show_default=True,
    help="Commands of kafka-acls, JSON, or KafkaUser resources of Strimzi.",
)
@click.option("--bootstrap", metavar="HOST:PORT", help="The brokers' address in the commands. Default: KAFKA_BOOTSTRAP_SERVERS.")
@click.option("--command-config", metavar="FILE", help="The file with an administrator's credentials in the commands.")
@click.option("--cluster", default="kafka", show_default=True, help="Name of the Kafka resource (Strimzi).")
@click.option(
    "--authentication",
    type=click.Choice(["scram-sha-512", "tls"]),
    default="scram-sha-512",
    show_default=True,
    help="How the users prove who they are (Strimzi).",
)
def acls(
    roles: tuple[str, ...],
    given: tuple[str, ...],
    idempotent_write: bool,
    form: str,
    bootstrap: str | None,
    command_config: str | None,
    cluster: str,
    authentication: str,
) -> None:
    """Print what grants the rights. Nothing is changed, and no broker is asked.

    \b
    veilstream access acls --command-config admin.properties | sh
    veilstream access acls --stage profile --principal profile=User:CN=profile
    veilstream access acls --format strimzi --cluster shop | kubectl apply -f -
    """
    from streams.access.acls import as_json, commands
    from streams.access.strimzi import Authentication, manifests
    from streams.settings import load_kafka_settings, load_settings

    settings = load_settings()
    found = _by_role(settings, roles, given, idempotent_write)
    if form == "json":
        click.echo(as_json(found))
    elif form == "strimzi":
        click.echo(manifests(found, cluster=cluster, authentication=cast("Authentication", authentication)), nl=False)
    else:
        servers = bootstrap or load_kafka_settings().bootstrap_servers
        for role, whose, rights in found:
            for line in commands(role, whose, rights, bootstrap=servers, command_config=command_config):
                click.echo(line)


@command.command()
@_stage(many=True)
@_PRINCIPAL
@_OLD
@click.option("--json", "as_json", is_flag=True, help="As JSON, as `access acls --format json`.")
def show(roles: tuple[str, ...], given: tuple[str, ...], idempotent_write: bool, as_json: bool) -> None:
    """Show who may do what, as a table of topics and groups by role.

    R: Read, W: Write, C: Create, A: Alter, D: Describe, G: DescribeConfigs, I: IdempotentWrite.
    """
    from streams.access.principals import principals
    from streams.settings import load_settings

    settings = load_settings()
    found = _by_role(settings, roles, given, idempotent_write)
    if as_json:
        from streams.access.acls import as_json as acls_as_json

        click.echo(acls_as_json(found))
    else:
        _print_table(found, principals(given, settings))


@command.command()
@_stage(many=False)
@_OLD
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(role: str, idempotent_write: bool, as_json: bool) -> int:
    """Ask the broker what the credentials of the KAFKA_… settings may do, and compare.

    One line for each resource with a right that is missing, or too many. A right that the broker does not tell of (the ones of a topic
    that does not exist yet, of groups whose names are the clients' own, of the cluster) is named as not seen. The exit code is 1 if a
    right is missing, and 0 if there are only too many.
    """
    from streams.access.asking import granted
    from streams.access.comparing import missing, together, too_many, unknown
    from streams.access.rights import rights_of
    from streams.kafka.clients import quiet_client_loggers
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    needed = rights_of(role, load_settings(), idempotent_write=idempotent_write)
    found = asyncio.run(granted(load_kafka_settings(), needed, everything=True))
    lacking, unseen = missing(needed, found), unknown(needed, found)
    if as_json:
        extra = [] if found.is_open else too_many(needed, found)
        told = {"role": role, "needed": len(needed), "everything_allowed": found.is_open}
        lists = {"missing": lacking, "too_many": extra, "not_seen": unseen}
        click.echo(json.dumps(told | {name: [str(right) for right in rights] for name, rights in lists.items()}, indent=2))
        return 1 if lacking else 0
    for text in together(lacking):
        click.echo(f"MISSING   {role} may not {text}; see `veilstream access acls --stage {role}`")
    if found.is_open:
        click.echo("TOO MANY  everything is allowed on every topic: the broker has no authorizer, or these are a super user's credentials")
    else:
        for text in together(too_many(needed, found)):
            click.echo(f"TOO MANY  {role} may {text}, and does not need it")
    for text in together(unseen):
        click.echo(f"not seen  {text}")
    click.echo(f"{len(needed) - len(lacking) - len(unseen)} of {len(needed)} rights are there")
    return 1 if lacking else 0


def _by_role(
    settings: Settings, roles: tuple[str, ...], given: tuple[str, ...], idempotent_write: bool
) -> list[tuple[str, tuple[str, ...], tuple[Right, ...]]]:
    from streams.access.principals import principals
    from streams.access.rights import rights_of

    whose = principals(given, settings)
    return [
        (role, whose[role], rights_of(role, settings, idempotent_write=idempotent_write))
        for role in ROLE_NAMES
        if not roles or role in roles
    ]


_LETTERS = {
    "Read": "R", "Write": "W", "Create": "C", "Alter": "A", "Describe": "D", "DescribeConfigs": "G", "IdempotentWrite": "I",
}  # fmt: skip


def _print_table(found: list[tuple[str, tuple[str, ...], tuple[Right, ...]]], whose: Principals) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for role, _, _ in found:
        table.add_column(role, no_wrap=True)
    rows: dict[str, dict[str, str]] = {}
    for role, _, rights in found:
        for right in sorted(rights, key=lambda right: ("topic", "group", "cluster").index(right.resource)):
            name = f"{right.resource} {right.name}{'*' if right.is_prefix else ''}"
            cells = rows.setdefault(name, {})
            cells[role] = "".join(sorted(cells.get(role, "") + _LETTERS[right.operation], key="RWCADGI".index))
    for name in sorted(rows, key=lambda name: ("topic", "group", "cluster").index(name.partition(" ")[0])):
        table.add_row(name, *(rows[name].get(role, "") for role, _, _ in found))
    console.print(table)
    console.print("R Read, W Write, C Create, A Alter, D Describe, G DescribeConfigs, I IdempotentWrite; * stands for any ending\n")
    for role, _, _ in found:
        console.print(f"{role:<12} {', '.join(whose[role])}", highlight=False)
