"""What uvicorn serves in these tests: the real authorizer on top of a JSON file."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.authorizer import build_app
from tests.gateway.resolver import FileResolver

app = build_app(FileResolver(Path(os.environ["AUTHORIZER_TEST_STORE"])))
