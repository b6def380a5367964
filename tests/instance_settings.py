"""Settings of processes that tests start: the product's own, on the running test's database."""

from __future__ import annotations

import os

from controlplane.settings import *  # noqa: F403  the real settings
from controlplane.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["TAMARACK_TEST_DATABASE"]
