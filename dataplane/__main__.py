"""Runs the index server of one deployment: `python -m dataplane --config FILE`."""

from __future__ import annotations

import os
import sys

# gRPC brings its own TLS and SQLCipher its own ciphers, but asyncio and hashlib would load OpenSSL
# as well: 8 MB that nothing here uses. None is the import system's own sign for "not there".
sys.modules.update({"ssl": None, "_hashlib": None})  # type: ignore[dict-item]  # see above

# Read by gRPC when it is first loaded.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"

from dataplane.app import main  # noqa: E402  only now: it loads gRPC

if __name__ == "__main__":
    sys.exit(main())
