"""``veilstream broker``: the embedded broker in the foreground."""

from __future__ import annotations

import signal

import click


@click.command(name="broker")
@click.option("--port", default=9092, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def command(port: int, host: str) -> None:
    """Run the embedded broker until interrupted. It keeps everything in memory: for trying things out."""
    from streams.broker.embedded import EmbeddedBroker

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with EmbeddedBroker(host=host, port=port) as broker:
        click.echo(f"KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap_servers}")
        click.echo("VEILSTREAM_IDEMPOTENT_PRODUCER=false")
        broker.wait()
