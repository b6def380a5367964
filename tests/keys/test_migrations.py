from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from keys import secrets
from keys.models import ApiKey
from keys.peppers import current_pepper, pepper_bytes
from keys.selectors.api_keys import verify_key
from tests.factories import make_project

BEFORE = [("keys", "0003_service_account_details")]


@pytest.mark.django_db(transaction=True)
class MoveSecretsTests:
    def test_a_key_made_before_secrets_had_rows_goes_on_working(self) -> None:
        project = make_project()
        pepper = current_pepper()
        made, secret = datetime(2026, 1, 2, tzinfo=UTC), secrets.generate()
        everything = MigrationExecutor(connection).loader.graph.leaf_nodes()
        executor = MigrationExecutor(connection)
        executor.migrate(BEFORE)
        try:
            state = executor.loader.project_state(BEFORE)
            old = state.apps.get_model("keys", "ApiKey")
            row = old.objects.create(
                project_id=project.pk,
                name="old",
                lookup_id=secret.lookup_id,
                digest=secrets.digest(pepper_bytes(pepper), secret),
                pepper_id=pepper.pk,
                created_by="somebody",
            )
            old.objects.filter(pk=row.pk).update(created_at=made)
        finally:
            MigrationExecutor(connection).migrate(everything)
        key = ApiKey.objects.get()
        assert key.current_secret.created_at == made
        assert key.current_secret.sha256 is None
        verified = verify_key(secret.text)
        assert verified is not None
        assert (verified.id, verified.secret) == (row.pk, secret.lookup_id)
