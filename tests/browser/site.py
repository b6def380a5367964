"""The site under test, over TLS in a thread of its own, and an identity provider beside it."""

from __future__ import annotations

import html
import ssl
import threading
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import LiveServerThread
from lxml import etree

from sso.models import Connection
from tests.sso import idp


class _TlsServer(ThreadedWSGIServer):
    """Speaks TLS, as the gateway does in front of the real one."""

    context: ssl.SSLContext

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The handshake is for the thread of the request: a slow one keeps nobody waiting.
        self.socket = self.context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def setup_environ(self) -> None:
        super().setup_environ()
        self.base_environ["HTTP_X_FORWARDED_PROTO"] = "https"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers end connections as they like."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a site that serves meanwhile. Needs a database that threads share."""
    pair = idp.pair("localhost")
    file = folder / "localhost.pem"
    file.write_text(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = type("_Server", (_TlsServer,), {"context": context})
    thread = LiveServerThread("localhost", StaticFilesHandler)
    thread.server_class = server
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    try:
        yield f"https://localhost:{thread.port}"
    finally:
        thread.terminate()


class Provider:
    """An identity provider with a sign-in page, on an origin of its own.

    Attributes:
        says: what it says of the person, as `idp.make_response` takes it.
    """

    def __init__(self) -> None:
        self.says: dict[str, Any] = {}
        self.connection: Connection | None = None
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = provider.page(self.path).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/sso"

    def page(self, path: str) -> str:
        """A form that posts the answer to the site, once somebody presses the button."""
        sent = parse_qs(urlsplit(path).query)
        if "SAMLRequest" not in sent or self.connection is None:
            return "<!doctype html><title>Identity provider</title><h1>Nobody asked</h1>"
        request = etree.fromstring(zlib.decompress(b64decode(sent["SAMLRequest"][0]), -15))
        answer = idp.make_response(self.connection, str(request.get("ID")), **self.says)
        fields = {"SAMLResponse": answer, "RelayState": sent.get("RelayState", [""])[0]}
        inputs = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
            for name, value in fields.items()
        )
        return (
            "<!doctype html><html lang=en><title>Identity provider</title>"
            f'<h1>Identity provider</h1><form method="post" action="{self.connection.acs_url}">'
            f"{inputs}<button>Sign in as Ada</button></form></html>"
        )

    def __enter__(self) -> Provider:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
