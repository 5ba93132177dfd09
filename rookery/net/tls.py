"""TLS contexts: ours for clients that connect, and those for servers that we connect to. TLS 1.2 and newer."""

import ssl
from pathlib import Path

from rookery.base.errors import Cause, RookeryError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"  # of TLS 1.2; 1.3 has only good ones


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises RookeryError(INVALID) naming the file when certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.sni_callback = _remember_name
    _load(context, certificate, key)
    return context


def reload_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Take up renewed files for all handshakes from now on; raises as `server_context`, and then nothing changed."""
    server_context(certificate, key)
    _load(context, certificate, key)


def client_context(*, verify: bool = False, authorities: Path | None = None) -> ssl.SSLContext:
    """For connections to other servers. Unverified is what opportunistic TLS between mail servers means (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities is not None:
        context.load_verify_locations(authorities)
    else:
        context.load_default_certs()
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        if not path.is_file():
            raise RookeryError(Cause.INVALID, f"{path}: no such file")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise RookeryError(Cause.INVALID, f"{certificate} with key {key}: {error}") from error


def _no_password() -> str:
    """Never ask at the terminal for the password of a key."""
    return ""


def _remember_name(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    if name:
        tls.server_name = name[:255]  # type: ignore[attr-defined]
