"""A wire between a client and PostgreSQL that stops at a message, so that a client can be killed at that statement."""

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import parse_qs, urlsplit

SECONDS = 60


class Wire:
    """Listens on loopback and passes bytes on to the server of ``url`` until the client sends ``stop_at``.

    With ``answered`` the message goes through and the server's answer to it is held back instead. ``held`` is set then.
    With ``since`` messages count from the one on that holds it.
    """

    def __init__(self, url: str, stop_at: bytes, answered: bool = False, since: bytes = b"") -> None:
        there = urlsplit(url)
        self.server = f"{parse_qs(there.query)['host'][0]}/.s.PGSQL.5432"
        self.stop_at, self.answered, self.since = stop_at, answered, since
        self._counts = not since
        self.held, self._go = threading.Event(), threading.Event()
        self._asked = self._dead = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{there.username}@127.0.0.1:{port}{there.path}?sslmode=disable&gssencmode=disable"
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def let_go(self) -> None:
        """Pass on what is held, and everything after it."""
        self._go.set()

    def cut(self) -> None:
        """End both sides; what is held reaches nobody."""
        self._dead = True
        self._listener.close()
        self._go.set()

    def _listen(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self.server)
                except OSError:
                    client.close()
                    continue
                for source, sink, asks in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=(source, sink, asks), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                found = asks and self._counts and self.stop_at in data
                self._counts = self._counts or (asks and self.since in data)
                if found and self.answered:
                    self._asked = True
                elif found or (self._asked and not asks):
                    self.held.set()
                    self._go.wait(SECONDS)
                if self._dead:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
