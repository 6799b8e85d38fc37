"""From settings to what the news servers need: resolved accounts and reply table overrides."""

from collections.abc import Callable, Mapping

from usenetsyncd.errors import ConfigurationError
from usenetsyncd.model import ServerAccount
from usenetsyncd.settings.references import resolve
from usenetsyncd.settings.schema import ServerSettings, Settings
from usenetsyncd.telemetry.redaction import register_secret


def accounts_of(
    settings: Settings, credentials: Callable[[str], str], environ: Mapping[str, str]
) -> tuple[list[ServerAccount], list[str]]:
    """The accounts whose secrets can be resolved, and a sentence for each that cannot.

    A missing password must not stop the other servers; it shows up as a warning that names the command.
    """
    accounts: list[ServerAccount] = []
    problems: list[str] = []
    for server in settings.servers:
        try:
            accounts.append(_account(server, credentials, environ))
        except ConfigurationError as error:
            problems.append(f"server {server.name} is not used: {error}")
    return accounts, problems


def _account(
    server: ServerSettings, credentials: Callable[[str], str], environ: Mapping[str, str]
) -> ServerAccount:
    password = None
    if server.password is not None:
        password = resolve(server.password, credentials, environ, f"servers[{server.name}].password")
        register_secret(password)
    return ServerAccount(
        name=server.name,
        host=server.host,
        port=server.port,
        tls=server.tls,
        username=server.username,
        password=password,
        connections=server.connections,
        roles=frozenset(server.roles),
        priority=server.priority,
        ca_file=server.ca_file,
        pin_sha256=server.pin_sha256,
        timeout_s=server.timeout,
    )


def overrides_of(settings: Settings) -> dict[str, dict[str, str | int | float]]:
    """The ``retry`` section as the reply table takes it."""
    return {str(code): rule.row_fields() for code, rule in settings.retry.items()}
