"""UsenetSync: folders kept safe and shared on Usenet, unattended."""

__version__ = "0.1.0"
