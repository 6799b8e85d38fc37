"""What the dashboard and a metrics collector ask of the daemon, beside the rest of the API."""

from typing import Protocol

from usenetsyncd.control.schema import web as schema


class WebOperations(Protocol):
    """Part of control.operations.Operations."""

    def directory(self, folder: str, path: bytes, after: str | None, limit: int) -> schema.DirectoryPage:
        """What a directory holds. path: below the folder's root. Raises NotFound."""

    def traffic(self) -> schema.Traffic:
        """How fast it went lately."""

    def metrics(self) -> bytes:
        """Everything that can be counted, in the text format of Prometheus."""

    def web_login(self) -> schema.WebLogin:
        """A one-time link. Raises UsageError when the dashboard is off, ConfigurationError when it cannot listen."""
