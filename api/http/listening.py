"""Where a server listens: a TCP port, or a socket in the file system; and the certificate that it shows.

A socket file is its owner's from the first instant. One that a crash left is taken away, one that somebody listens on never is.
"""

import os
import socket
import ssl
import stat
from pathlib import Path
from typing import ClassVar

from aiohttp import web
from attrs import frozen

from api.settings import Settings
from eventlog.errors import RunlogError

_BACKLOG = 1024
_PROBE_S = 1.0


@frozen
class CannotListen(RunlogError):
    """The address is taken, or not this machine's, or cannot be a socket (exit code 3)."""

    code: ClassVar[str] = "CANNOT_LISTEN"
    address: str
    reason: str

    @property
    def message(self) -> str:
        return f"Cannot listen on {self.address} ({self.reason}). Choose another --port or --uds, or stop what listens there."


@frozen
class CertificateUnusable(RunlogError):
    """TLS was asked for, and its files do not make it (exit code 3)."""

    code: ClassVar[str] = "CERTIFICATE_UNUSABLE"
    cert: str
    key: str
    reason: str

    @property
    def message(self) -> str:
        return (
            f"No TLS with the certificate {self.cert} and the key {self.key} ({self.reason}). Both must be PEM files that "
            "belong together, readable, and the key without a passphrase."
        )


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """Return what TLS needs; None where none is asked for.

    Raises:
        CertificateUnusable: certificate or key cannot be used.

    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")  # (or it would ask the terminal)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error) or "they do not fit together"
        raise CertificateUnusable(str(settings.tls_cert), str(settings.tls_key), reason) from None
    return context


class Listening:
    """Where *runner* listens; once only."""

    def __init__(self, runner: web.AppRunner, settings: Settings, tls: ssl.SSLContext | None) -> None:
        """Call `start`."""
        self._runner, self._settings, self._tls = runner, settings, tls
        self._socket: tuple[int, int] | None = None

    async def start(self) -> str:
        """Listen; return where, as a URL or the path of the socket.

        Raises:
            CannotListen: it cannot.

        """
        if self._settings.uds is not None:
            await self._on_socket(self._settings.uds)
            return str(self._settings.uds)
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(self._runner, host, port, backlog=_BACKLOG, ssl_context=self._tls).start()
        except OSError as error:
            raise CannotListen(f"{host}:{port}", error.strerror or str(error)) from None
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{self._runner.addresses[0][1]}"

    def end(self) -> None:
        """Take away the socket's file, if it is still ours."""
        path = self._settings.uds
        if path is not None and self._socket is not None and _identity(path) == self._socket:
            path.unlink()

    async def _on_socket(self, path: Path) -> None:
        try:
            _clear(path)
            # The process's umask is 0077: nobody else can connect before the mode is what was asked for.
            site = web.UnixSite(self._runner, path, backlog=_BACKLOG, ssl_context=self._tls)
            await site.start()
            os.chmod(path, int(self._settings.uds_mode, 8))
        except OSError as error:
            raise CannotListen(str(path), error.strerror or str(error)) from None
        self._socket = _identity(path)


def _clear(path: Path) -> None:
    """Take away a socket that nobody listens on.

    Raises:
        CannotListen: what is there must stay.

    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(str(path), "it is there, and no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:
            pass
    raise CannotListen(str(path), "somebody listens there")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
