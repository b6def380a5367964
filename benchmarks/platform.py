"""A whole platform, as `manage.py up` starts it: provisioning, and revocation of API keys."""

from __future__ import annotations

import logging
import os

import django

from benchmarks.measure import Line, Sizes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
django.setup()
logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for every request

from benchmarks import provisioning, revocation  # noqa: E402  Django has to be set up first
from benchmarks.provisioning import AT_ONCE, Control  # noqa: E402  as above
from tests.platform.support import free_port_block, new_instance  # noqa: E402  as above

PORTS = AT_ONCE + 10


def run(sizes: Sizes) -> list[Line]:
    """The lines of this benchmark."""
    first = free_port_block(3 * PORTS)
    with new_instance(
        TAMARACK_INDEX_PORTS=f"{first}-{first + PORTS - 1}",
        TAMARACK_UPSTREAM_PORTS=f"{first + PORTS}-{first + 3 * PORTS - 1}",
    ) as instance:
        instance.start()
        owner = instance.owner()
        with Control(instance, owner["api_key"]) as control:
            lines = provisioning.measure(control, sizes)
            host = control.create("revocation")
            control.wait_ready("revocation")
        return lines + revocation.measure(instance, owner["project_id"], host, sizes)
