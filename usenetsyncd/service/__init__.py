"""Being a service: readiness, watchdog, lock file, signals."""

from usenetsyncd.service.lock import LockFile, holder_of
from usenetsyncd.service.notify import Notifier
from usenetsyncd.service.signals import SignalHandlers, install_signal_handlers

__all__ = ["LockFile", "Notifier", "SignalHandlers", "holder_of", "install_signal_handlers"]
