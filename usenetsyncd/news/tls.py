"""TLS towards news servers: always verified, against the system's CAs, a private CA or a pinned key.

A pin is the SHA-256 of the leaf certificate's SubjectPublicKeyInfo (as in RFC 7469), in hex or base64: it survives
a renewal of the certificate under the same key. A pin alone stands in for the CA, the host name and the dates; with
``ca_file`` beside it both must hold. There is no way to have neither.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
import ssl
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from usenetsyncd.errors import ConfigurationError, TlsFailed
from usenetsyncd.model import ServerAccount, TlsMode

_HOST_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH
_IP_MISMATCH = 64
_EXPIRED = 10
_NOT_YET_VALID = 9
_SELF_SIGNED = (18, 19)
_NO_ISSUER = (2, 20, 21)


def is_loopback(host: str) -> bool:
    """Whether that name or address is this machine, without asking DNS."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def client_context(account: ServerAccount) -> ssl.SSLContext | None:
    """The context for an account, or None for ``tls: none`` on loopback.

    Raises ConfigurationError for ``tls: none`` elsewhere, an unreadable ca_file or a pin that is none.
    """
    if account.tls is TlsMode.NONE:
        if not is_loopback(account.host):
            raise ConfigurationError(
                f"server {account.name}: 'tls: none' is only for a server on this machine, and {account.host} is not; "
                "use 'tls: implicit' (port 563) or 'tls: starttls'"
            )
        return None
    try:
        context = ssl.create_default_context(cafile=account.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"server {account.name}: the CA file {account.ca_file} cannot be used: {error}"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if account.pin_sha256 is not None:
        parse_pin(account.pin_sha256)
        if account.ca_file is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    return context


def parse_pin(pin: str) -> bytes:
    """The 32 bytes of a pin: hex, with or without colons, or base64; ``sha256//`` or ``sha256:`` may stand before it.

    Raises ConfigurationError.
    """
    bare = pin.strip().removeprefix("sha256//").removeprefix("sha256:")
    try:
        digest = bytes.fromhex(bare.replace(":", ""))
    except ValueError:
        try:
            digest = base64.b64decode(bare, validate=True)
        except binascii.Error:
            digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ConfigurationError(
            f"pin_sha256: expected 64 hex digits or 44 characters of base64, got {pin!r}"
        )
    return digest


def key_pin(certificate_der: bytes) -> bytes:
    """SHA-256 of the public key (SubjectPublicKeyInfo) in a DER certificate. Raises TlsFailed."""
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
    except ValueError as error:
        raise TlsFailed(f"the server's certificate cannot be read: {error}") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def secure(plain: socket.socket, context: ssl.SSLContext, account: ServerAccount) -> ssl.SSLSocket:
    """Shake hands; what comes back is verified. The plain socket must not be used again.

    Raises TlsFailed with the reason, OSError when the connection ends or times out on the way.
    """
    try:
        secured = context.wrap_socket(plain, server_hostname=account.host.strip("[]"))
    except ssl.SSLCertVerificationError as error:
        raise TlsFailed(f"{account.name}: {_why_refused(error, account)}") from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise ConnectionResetError("the connection ended during the TLS handshake") from error
    except ssl.SSLError as error:
        hint = " (is this port really TLS from the start?)" if error.reason == "WRONG_VERSION_NUMBER" else ""
        raise TlsFailed(f"{account.name}: the TLS handshake failed: {error.reason or error}{hint}") from error
    try:
        _check_pin(secured, account)
    except TlsFailed:
        secured.close()
        raise
    return secured


def certificate_of(secured: ssl.SSLSocket) -> tuple[str, str, datetime]:
    """Subject, issuer and last day of the server's certificate. Raises TlsFailed."""
    der = secured.getpeercert(binary_form=True)
    if not der:
        raise TlsFailed("the server shows no certificate")
    certificate = x509.load_der_x509_certificate(der)
    return (
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_after_utc.astimezone(UTC),
    )


def _check_pin(secured: ssl.SSLSocket, account: ServerAccount) -> None:
    if account.pin_sha256 is None:
        return
    der = secured.getpeercert(binary_form=True)
    found = key_pin(der) if der else b""
    if not hmac.compare_digest(found, parse_pin(account.pin_sha256)):
        raise TlsFailed(
            f"{account.name}: the server's key is not the pinned one: it is sha256:{found.hex()}. "
            "Somebody may stand in between; if the server really changed its key, change pin_sha256"
        )


def _why_refused(error: ssl.SSLCertVerificationError, account: ServerAccount) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return "the server's certificate has expired"
    if code == _NOT_YET_VALID:
        return "the server's certificate is not valid yet; is this machine's clock right?"
    if code in (_HOST_MISMATCH, _IP_MISMATCH):
        return f"the server's certificate is for another name than {account.host}"
    if code in _SELF_SIGNED:
        return "the server's certificate is signed by nobody known; for a private server set ca_file or pin_sha256"
    if code in _NO_ISSUER:
        return "the server's certificate comes from an unknown authority; for a private one set ca_file or pin_sha256"
    return f"the server's certificate is refused: {error.verify_message}"
