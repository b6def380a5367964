from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid

import pytest

from audit import notes
from audit.models import Stream
from audit.signing import verifier_of
from audit.streams import webhook
from audit.streams.delivery import deliver
from audit.streams.secrets import unwrapped
from audit.streams.webhook import new_secret, signature
from tests.audit.receivers import HttpReceiver, Received
from tests.audit.streams.support import make_due, make_stream
from tests.audit.support import grow


def verified(request: Received, secret: str) -> dict[str, object]:
    """The message, checked as the Standard Webhooks specification tells receivers to."""
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    message: dict[str, object] = json.loads(request.body)
    return message


class SignatureTests:
    def test_the_published_example(self) -> None:
        """The one that the specification's own libraries test with."""
        assert (
            signature(
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1614265330,
                b'{"test": 2432232314}',
            )
            == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        )

    def test_a_new_secret_has_256_bits(self) -> None:
        secret = new_secret()
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
        assert secret != new_secret()


class DeliverTests:
    def test_events_arrive_signed_with_numbers_hashes_and_checkpoint(
        self, hook: HttpReceiver, log_id: uuid.UUID
    ) -> None:
        stream = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        assert deliver(stream.pk) == 5
        (request,) = hook.received
        message = verified(request, unwrapped(stream.pk, stream.wrapped_secret))
        assert (request.method, request.path) == ("POST", "/hook")
        assert message["type"] == "audit.events"
        data = message["data"]
        assert isinstance(data, dict)
        assert (data["from_seq"], data["end_seq"]) == (0, 5)
        chain = bytes(32)
        for seq, item in enumerate(data["events"]):
            assert item["seq"] == seq
            assert item["event"]["organization_id"] == str(log_id)
            chain = hashlib.sha256(chain + bytes.fromhex(item["leaf_hash"])).digest()
            assert item["chain_hash"] == chain.hex()
        tree = notes.read(data["checkpoint"], notes.Verifier.parse(data["public_key"]))
        assert (tree.size, data["public_key"]) == (5, str(verifier_of(log_id)))

    def test_a_repeated_attempt_has_the_same_id_and_one_with_more_events_another(
        self, hook: HttpReceiver, log_id: uuid.UUID
    ) -> None:
        stream = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        hook.answer = lambda _: (500, {}, b"")
        for count in (0, 0, 1):
            grow(log_id, count)
            make_due(stream)
            deliver(stream.pk)
        first, again, more = (request.headers["webhook-id"] for request in hook.received)
        assert first == again != more

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_redirects_are_not_followed(
        self, hook: HttpReceiver, log_id: uuid.UUID, status: int
    ) -> None:
        stream = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        hook.answer = lambda _: (status, {"Location": hook.url + "/elsewhere"}, b"")
        assert deliver(stream.pk) == 0
        assert len(hook.received) == 1
        stream.refresh_from_db()
        assert (
            stream.last_error == f"The webhook answered {status}, and redirects are not followed."
        )

    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    def test_every_success_acknowledges(
        self, hook: HttpReceiver, log_id: uuid.UUID, status: int
    ) -> None:
        stream = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        hook.answer = lambda _: (status, {}, b"")
        assert deliver(stream.pk) == 5

    def test_what_the_receiver_says_is_not_kept(
        self, hook: HttpReceiver, log_id: uuid.UUID
    ) -> None:
        """It could be a page from inside that only this machine may read."""
        stream = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        hook.answer = lambda _: (403, {}, b"inner secrets")
        deliver(stream.pk)
        stream.refresh_from_db()
        assert stream.last_error == "The webhook answered 403."

    def test_the_path_and_query_are_sent_as_they_are(
        self, hook: HttpReceiver, log_id: uuid.UUID
    ) -> None:
        url = hook.url + "/a%20b?x=1&y=%2F"
        stream = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": url})
        deliver(stream.pk)
        assert hook.received[0].path == "/hook/a%20b?x=1&y=%2F"

    def test_a_secret_moved_to_another_stream_does_not_open(
        self, hook: HttpReceiver, log_id: uuid.UUID
    ) -> None:
        one = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        other = make_stream(log_id, Stream.Kind.WEBHOOK, {"url": hook.url})
        Stream.objects.filter(pk=one.pk).update(wrapped_secret=other.wrapped_secret)
        assert deliver(one.pk) == 0
        assert hook.received == []
        assert webhook.PREFIX not in Stream.objects.get(pk=one.pk).last_error
