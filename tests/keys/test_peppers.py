from __future__ import annotations

import threading

import pytest
from django.db import connections, transaction

from keys.models import Pepper
from keys.peppers import current_pepper, pepper_bytes
from keys.selectors.api_keys import verify_key
from keys.services.api_keys import create_api_key
from kms import envelope
from kms.envelope import KeyUnavailable
from kms.installation import provider
from tests.factories import SYSTEM, make_key, make_project


@pytest.mark.django_db
class PepperTests:
    def test_the_first_one_is_made_when_needed(self) -> None:
        assert current_pepper().number == 1
        assert len(pepper_bytes(current_pepper())) == 32
        assert Pepper.objects.count() == 1

    def test_it_is_stored_wrapped(self) -> None:
        pepper = current_pepper()
        assert pepper_bytes(pepper).hex() not in pepper.wrapped
        assert "AES-256-GCM" in pepper.wrapped

    def test_new_keys_take_the_newest_and_old_keys_go_on_working(self) -> None:
        project = make_project()
        old, old_secret = make_key(project)
        wrapped = provider().wrap(
            envelope.new_key(), context={"purpose": "api-key-pepper", "number": "2"}
        )
        Pepper.objects.create(number=2, wrapped=wrapped.dump())
        new, new_secret = create_api_key(actor=SYSTEM, project=project, name="new")
        assert (old.current_secret.pepper_id, new.current_secret.pepper_id) == (1, 2)
        assert verify_key(old_secret) is not None
        assert verify_key(new_secret) is not None

    def test_one_that_was_copied_to_another_number_does_not_open(self) -> None:
        first = current_pepper()
        with pytest.raises(KeyUnavailable):
            pepper_bytes(Pepper(number=2, wrapped=first.wrapped))

    def test_a_rolled_back_one_is_not_remembered(self) -> None:
        class Undo(Exception):
            pass

        with pytest.raises(Undo), transaction.atomic():
            lost = pepper_bytes(current_pepper())
            raise Undo
        assert pepper_bytes(current_pepper()) != lost


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_many_at_once_agree_on_one_pepper(self) -> None:
        seen: list[bytes] = []
        start = threading.Barrier(6)

        def work() -> None:
            try:
                start.wait()
                with transaction.atomic():
                    seen.append(pepper_bytes(current_pepper()))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 6
        assert len(set(seen)) == 1
        assert Pepper.objects.count() == 1
