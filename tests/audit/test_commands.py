from __future__ import annotations

import stat
import uuid
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from audit.models import INSTALLATION, AuditEvent
from audit.sealing import seal_all
from audit.signing import verifier_of
from audit.verification import verify
from orgs.errors import PermissionDenied
from orgs.models import Organization
from orgs.services.audit import export_installation
from tests.audit.support import make_event
from tests.cast import Cast
from tests.factories import make_organization


@pytest.mark.django_db
class ExportTests:
    def test_writes_an_organizations_log_for_its_owner_alone(
        self, cast: Cast, tmp_path: Path
    ) -> None:
        seal_all()
        file = tmp_path / "audit.jsonl"
        call_command("audit_export", str(file), "--organization", str(cast.organization.pk))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with file.open("rb") as export:
            found = verify(export, public_key=str(verifier_of(cast.organization.pk)))
        assert found.end > 0
        (event,) = AuditEvent.objects.filter(type="audit.exported")
        assert (event.actor_label, event.organization_id) == ("operator", cast.organization.pk)

    def test_an_organization_that_is_gone_has_its_log_still(self, tmp_path: Path) -> None:
        organization = make_organization()
        seal_all()
        Organization.objects.filter(pk=organization.pk).delete()
        file = tmp_path / "audit.jsonl"
        call_command("audit_export", str(file), "--organization", str(organization.pk))
        with file.open("rb") as export:
            assert verify(export).end > 0

    def test_writes_the_installations_log(self, db: None, tmp_path: Path) -> None:
        make_event(None)
        seal_all()
        file = tmp_path / "audit.jsonl"
        call_command("audit_export", str(file))
        with file.open("rb") as export:
            found = verify(export, public_key=str(verifier_of(INSTALLATION)))
        assert found.end > 0
        (event,) = AuditEvent.objects.filter(type="audit.exported")
        assert event.organization_id is None

    def test_only_the_operator_gets_the_installations_log(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied, match="Only the operator"):
            export_installation(actor=cast.actor(cast.alice))

    def test_a_file_that_is_there_stays_as_it_is(self, db: None, tmp_path: Path) -> None:
        file = tmp_path / "audit.jsonl"
        file.write_text("kept")
        with pytest.raises(CommandError, match="can't be made: File exists"):
            call_command("audit_export", str(file))
        assert file.read_text() == "kept"

    def test_an_organization_that_is_not_there_leaves_no_file(
        self, db: None, tmp_path: Path
    ) -> None:
        file = tmp_path / "audit.jsonl"
        with pytest.raises(CommandError, match="There is no organization"):
            call_command("audit_export", str(file), "--organization", str(uuid.uuid4()))
        assert not file.exists()
