"""What `make demo-idp` makes of the demonstration's organization, and mends when it runs again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings

from controlplane.demo.idp import LocalIdp
from controlplane.demo.idp_connection import (
    DOMAIN,
    ENTITY_ID,
    prepared_connection,
    switch_on,
    write_certificates,
)
from sso.models import Connection, Domain, SpKey
from sso.services.connections import set_state
from sso.services.domains import assign_domain
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.sso.nanoidp import Traveller, nanoidp, tls_pair

__all__ = ["nanoidp", "tls_pair"]


def test_the_connection_is_made_once_and_mended_after_that(
    cast: Cast, nanoidp: LocalIdp, tls_pair: Path, tmp_path: Path
) -> None:
    """However its owner left it: switched off, and its domain taken away."""
    traveller = Traveller(nanoidp, tls_pair)
    metadata = traveller.away.get("/saml/metadata").content
    traveller.close()
    xml = metadata.replace(f"{nanoidp.url}/saml".encode() + b'"', ENTITY_ID.encode() + b'"', 1)
    for _ in range(2):
        connection = switch_on(prepared_connection(cast.organization), xml)
        assert connection.state == Connection.State.ACTIVE
        domain = Domain.objects.get()
        assert (domain.name, domain.connection) == (DOMAIN, connection)
        assert domain.verified_at is not None
        (path,) = write_certificates(connection, tmp_path)
        assert path.read_text() == SpKey.objects.get().certificate_pem
        set_state(actor=SYSTEM, connection_id=connection.pk, state="disabled")
        assign_domain(actor=SYSTEM, domain_id=domain.pk, connection_id=None)


def test_it_says_so_where_no_demonstration_serves(tmp_path: Path) -> None:
    """And makes nothing."""
    kept: dict[str, Any] = {**os.environ, "TAMARACK_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "manage.py", "demo_idp"],
        cwd=settings.BASE_DIR,
        env={**kept, "DJANGO_SETTINGS_MODULE": "controlplane.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make demo in another terminal" in done.stderr
    assert not (tmp_path / "home" / "demo-idp").exists()
