"""What the service manager is told: sd_notify through systemd-python, or by the same datagram where it is absent."""

import os
import socket
import time
from collections.abc import Callable

import structlog

try:
    from systemd.daemon import notify as _systemd_notify
except ImportError:  # the extra `systemd` is not installed, or this is not Linux
    _systemd_notify = None

log = structlog.get_logger("service")

# systemd keeps what it is told in memory and prints it on one line; a path of 4,096 bytes helps nobody there.
MAX_STATUS_CHARACTERS = 300


class Notifier:
    """Tells systemd how we are. Does nothing when nobody asked (no NOTIFY_SOCKET); never raises for it.

    Safe to call from any thread: each call is one datagram.
    """

    def __init__(self) -> None:
        self._send = _sender()
        self._status = ""

    @property
    def active(self) -> bool:
        """Whether a service manager listens."""
        return self._send is not None

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often ``watchdog()`` must be called: half of what systemd allows. None: nobody watches."""
        if self._send is None or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        allowed_us = os.environ.get("WATCHDOG_USEC", "")
        return int(allowed_us) / 2e6 if allowed_us.isdecimal() and int(allowed_us) else None

    def ready(self, text: str | None = None) -> None:
        """Start, or a reload, is finished. text: as for ``status``."""
        self._tell("READY=1", *([] if text is None else [f"STATUS={self._one_line(text)}"]))

    def status(self, text: str) -> None:
        """One line for `systemctl status`. The same text again is not sent again."""
        line = self._one_line(text)
        if line != self._status:
            self._status = line
            self._tell(f"STATUS={line}")

    def reloading(self) -> None:
        """A reload begins; ``ready()`` ends it, whether it succeeded or not."""
        # The time ties this message to the SIGHUP that asked for it (Type=notify-reload, systemd 253 and later).
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The stop has begun."""
        self._tell("STOPPING=1")

    def watchdog(self) -> None:
        """We are alive. Call it only while every heartbeat is fresh."""
        self._tell("WATCHDOG=1")

    @staticmethod
    def _one_line(text: str) -> str:
        # A file name with a newline in it must not become a message of its own ("x\nSTOPPING=1").
        line = "".join(c if c.isprintable() else "?" for c in text)
        return line if len(line) <= MAX_STATUS_CHARACTERS else line[: MAX_STATUS_CHARACTERS - 1] + "…"

    def _tell(self, *assignments: str) -> None:
        if self._send is None:
            return
        try:
            self._send("\n".join(assignments))
        except OSError as error:
            # systemd restarts us if it needed to hear this; stopping the service ourselves would help nobody.
            log.warning("notify_failed", message=assignments[0], reason=str(error))


def _sender() -> Callable[[str], object] | None:
    if not os.environ.get("NOTIFY_SOCKET"):
        return None
    return _systemd_notify or _send_datagram


def _send_datagram(message: str) -> None:
    """The protocol of sd_notify(3): one datagram of assignments to the socket in NOTIFY_SOCKET. Raises OSError."""
    address = os.environ["NOTIFY_SOCKET"]
    if address.startswith("@"):  # Linux's abstract namespace is spelt with a NUL in front
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message.encode(), address)
