"""The YAML files that come with the package.

In a wheel they stand in ``usenetsyncd/_config`` (put there by the build), in a checkout at its top.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = _PACKAGE / "_config"


def defaults_file() -> Path:
    """The lowest layer."""
    return _config_directory() / "usenetsyncd.yaml"


def example_text() -> str:
    """The commented example, as ``config generate`` prints it."""
    folder = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
    return (folder / "usenetsyncd.example.yaml").read_text(encoding="utf-8")


def _config_directory() -> Path:
    return _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "config"
