"""Serves nanoidp, an identity provider written by somebody else, over TLS on loopback.

Run by the Python of `.venv-idp`; nothing of this project is imported. nanoidp appends an
assertion's signature at its end, while the schema of SAML 2.0 wants it right after the issuer:
signxml puts it where it finds a placeholder.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lxml import etree
from nanoidp.app import create_app
from nanoidp.routes import saml

DS = "http://www.w3.org/2000/09/xmldsig#"
ISSUER = "{urn:oasis:names:tc:SAML:2.0:assertion}Issuer"


def sign_after_the_issuer() -> None:
    """Make every assertion fit the schema."""
    unplaced = saml.build_assertion_core

    def placed(*args: Any, **kwargs: Any) -> Any:
        assertion, subject = unplaced(*args, **kwargs)
        placeholder = etree.Element(f"{{{DS}}}Signature", nsmap={"ds": DS}, Id="placeholder")
        assertion.find(ISSUER).addnext(placeholder)
        return assertion, subject

    saml.build_assertion_core = placed


def main() -> None:
    """Serve until a signal comes; says `ready` once it does."""
    parser = argparse.ArgumentParser()
    for name in ("--config", "--port", "--certificate", "--key"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    sign_after_the_issuer()
    app = create_app(options.config)
    from werkzeug.serving import make_server  # noqa: PLC0415  after nanoidp has set up its logs

    server = make_server(
        "127.0.0.1",
        int(options.port),
        app,
        threaded=True,
        ssl_context=(options.certificate, options.key),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
