"""What all commands of usyncctl share: options, the client, JSON, errors and exit codes.

Imports stand inside functions wherever `usyncctl status` does not need them: it must start fast.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from usenetsyncd.cli.terminal import ReaderGone, clean, clean_lines, flush, note, say
from usenetsyncd.errors import ExitCode, UsageError, UsenetSyncError

if TYPE_CHECKING:
    from usenetsyncd.control.client import Client

Document = dict[str, Any]
SCHEMA = 1
MAX_SECRET_BYTES = 65_536


class Session:
    """One call of the command: what was asked for on the command line, and the daemon."""

    def __init__(self) -> None:
        self.json = False
        self.socket: str | None = None
        self._client: Client | None = None

    @property
    def client(self) -> "Client":
        """The daemon on --socket, $USENETSYNCD_SOCKET, or where it usually listens."""
        if self._client is None:
            from usenetsyncd.control.client import Client

            self._client = Client([self.socket] if self.socket else _sockets())
        return self._client

    def show(self, document: Document) -> bool:
        """Print the document and return True when JSON was asked for."""
        if self.json:
            print_json(document)
        return self.json


def _sockets() -> Sequence[str]:
    from usenetsyncd.settings.paths import socket_candidates

    return [str(path) for path in socket_candidates(os.environ)]


def print_json(document: Document) -> None:
    """One line, ASCII only: nothing in it can do anything to a terminal."""
    say(json.dumps({"schema": SCHEMA, **document}))
    flush()


# -- commands ------------------------------------------------------------------------------


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is called.

    commands_at: name -> (module, attribute, one line of help).
    """

    def __init__(
        self, *args: Any, commands_at: Mapping[str, tuple[str, str, str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.commands_at = commands_at or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return [*self.commands_at, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports it."""
        if cmd_name not in self.commands_at:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = self.commands_at[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing any."""
        if not self.commands_at:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, _, told) in self.commands_at.items()])


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command; the function gets the Session first."""
    for option in (_JSON, _SOCKET):
        command = option(command)
    return click.pass_obj(command)


def paged(command: Callable[..., Any]) -> Callable[..., Any]:
    """--limit and --after of a list."""
    command = click.option("--after", metavar="CURSOR", help="Go on after this row.")(command)
    return click.option(
        "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Rows at most."
    )(command)


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).json = True


def _set_socket(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Session).socket = value


_JSON = click.option(
    "--json", is_flag=True, expose_value=False, callback=_set_json, is_eager=True, help="Print JSON."
)
_SOCKET = click.option(
    "--socket", metavar="PATH", expose_value=False, callback=_set_socket, help="Socket of the daemon."
)


# -- what several commands do ----------------------------------------------------------------


def path_query(path: bytes) -> Document:
    """An absolute path as the API's query wants it."""
    try:
        return {"path": path.decode("utf-8")}
    except UnicodeDecodeError:
        return {"path_b64": _base64(path)}


def path_value(path: bytes) -> object:
    """A path as the API's bodies want it."""
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": _base64(path)}


def absolute(path: str) -> bytes:
    """A path of the command line as the daemon must hear it: it runs somewhere else."""
    return os.path.abspath(os.fsencode(path))


def read_secret_input() -> str:
    """A secret from stdin, without the line break at its end. Raises UsageError."""
    content = sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)
    if len(content) > MAX_SECRET_BYTES:
        raise UsageError("what came from standard input is too long for a secret")
    try:
        return content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("what came from standard input is not text") from None


def passphrase_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """--passphrase-file, as ``passphrase_path``: a passphrase never stands on a command line."""
    return click.option(
        "--passphrase-file",
        "passphrase_path",
        metavar="FILE",
        help="Of a protected share; its first line, - for standard input.",
    )(command)


def read_passphrase(path: str) -> str:
    """The first line of a file, or of standard input. Raises UsageError."""
    if path == "-":
        content = read_secret_input()
    else:
        try:
            with open(path, "rb") as file:
                content = file.read(MAX_SECRET_BYTES).decode("utf-8")
        except OSError as error:
            raise UsageError(f"the passphrase cannot be read from {clean(path)}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"what stands in {clean(path)} is not text") from None
    first = content.split("\n", 1)[0].rstrip("\r")
    if not first:
        raise UsageError("the passphrase is empty")
    return first


def seconds(text: str) -> float:
    """A duration of the command line: ``90s``, ``1h30m``. Raises UsageError."""
    from usenetsyncd.settings.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from error


def more(document: Document, command: str) -> None:
    """Say how a list goes on."""
    if document.get("next"):
        note(f"there is more: {command} --after {document['next']}")


def print_lines(documents: Iterator[Document], as_text: Callable[[Document], str], session: Session) -> None:
    """Print documents as they come."""
    for document in documents:
        if not session.show(document):
            say(as_text(document))
            flush()


def _base64(path: bytes) -> str:
    import base64

    return base64.b64encode(path).decode()


# -- the whole call --------------------------------------------------------------------------


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Call a command and turn whatever happens into an exit code."""
    session = Session()
    for stream in (sys.stdout, sys.stderr):
        # a terminal that is not UTF-8 shows \\xe9, it does not break
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        found = command.main(arguments, prog_name=name, standalone_mode=False, obj=session)
        flush()
    except click.ClickException as error:
        error.show()
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        note("interrupted")
        return int(ExitCode.INTERRUPTED)
    except ReaderGone:
        # nothing may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)
    except UsenetSyncError as error:
        return _fail(error, session)
    return int(found or ExitCode.DONE)


def _fail(error: UsenetSyncError, session: Session) -> int:
    problem: Document = getattr(error, "problem", None) or {
        "error": error.code,
        "message": str(error),
        "exit_code": int(error.exit_code),
        "action": "",
    }
    if session.json:
        print_json(problem)
    note(clean_lines(str(error)))
    if counted := getattr(error, "count", None):
        note(counted)
    if problem.get("action"):
        note(f"try: {clean(problem['action'])}")
    return int(error.exit_code)
