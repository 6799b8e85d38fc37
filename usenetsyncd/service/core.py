"""No core dumps: one holds every key that the process holds, and ends up in places that are copied and mailed."""

import sys


def refuse_core_dumps() -> None:
    """Set the soft limit for core files to 0; ``prlimit --core=unlimited --pid PID`` takes it back while looking for a
    crash. Programs that the kernel pipes cores to (systemd-coredump, apport) keep to the limit as well.
    """
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
