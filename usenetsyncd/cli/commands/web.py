"""``usyncctl web`` and ``usyncctl metrics``: a way into the dashboard, and the numbers for a collector."""

import click

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Session, common
from usenetsyncd.cli.terminal import clean, note, say


@click.command()
@common
def web(session: Session) -> None:
    """A link that logs one browser into the dashboard, once.

    The dashboard listens where web.listen says, usually on this machine only. From another machine:
    ssh -L 8734:127.0.0.1:8734 HOST, and open the link there.

    Example: xdg-open "$(usyncctl web)"
    """
    found = session.client.post("web", "login")
    if session.show(found):
        return
    say(clean(found["url"]))
    note(f"Good for one login within {quantities.duration(found['expires_in_s'])}.")


@click.command()
@common
def metrics(session: Session) -> None:
    """Everything that can be counted, in the text format of Prometheus.

    The same as /metrics of the dashboard's address. For a collector of text files:

    Example: usyncctl metrics > /var/lib/prometheus/node-exporter/usenetsyncd.prom
    """
    text = session.client.text("metrics")
    if not session.show({"text": text}):
        say(text.rstrip("\n"))
