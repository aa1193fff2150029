"""``veilstream console``: a read-only page that shows what runs, as it happens."""

from __future__ import annotations

import asyncio
import logging
import signal

import click


@click.command(name="console")
@click.option("--host", help="Address of the page. Default: VEILSTREAM_CONSOLE_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page, 0 for any free one. Default: VEILSTREAM_CONSOLE_PORT.")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="HOST:PORT",
    help="Address of a worker's /metrics, or HOST:FIRST-LAST. Repeat the option for several. Default: VEILSTREAM_CONSOLE_WORKERS.",
)
def command(host: str | None, port: int | None, workers: tuple[str, ...]) -> None:
    """Serve a page that shows flow, recommendations, models, training, dead letters and privacy, until SIGINT or SIGTERM.

    It changes nothing: it asks the workers for /metrics, and reads topics with the rights of `console` (`veilstream access acls --stage
    console`). With the public keys in VEILSTREAM_KEYS_DIR it checks announcements of models and the audit. docs/console.md has more.
    """
    from streams.console.running import run_console
    from streams.kafka.clients import quiet_client_loggers
    from streams.logs import begin_logs, follow_settings, is_json
    from streams.settings import load_kafka_settings, load_settings

    begin_logs("console")
    settings, kafka = load_settings(), load_kafka_settings()
    given = {name: value for name, value in (("console_host", host), ("console_port", port)) if value is not None}
    settings = settings.model_copy(update=given)
    follow_settings(settings.log_level, settings.log_format)
    quiet_client_loggers()

    def tell(address: str) -> None:
        text = f"the console is at {address}"
        if is_json():
            logging.getLogger(__name__).info(text)
        else:
            click.echo(text)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_console(settings, kafka, stop, workers=workers, ready=tell)

    asyncio.run(main())
