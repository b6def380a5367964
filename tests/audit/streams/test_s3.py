from __future__ import annotations

import hashlib
import io
import uuid

import pytest

from audit import selectors
from audit.models import Stream
from audit.signing import verifier_of
from audit.streams import batches
from audit.streams.delivery import deliver
from audit.streams.s3 import authorization
from audit.verification import ExportError, verify
from tests.audit.receivers import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Bucket, HttpReceiver
from tests.audit.streams.support import make_due, make_stream
from tests.audit.support import grow


@pytest.fixture
def bucket(hook: HttpReceiver) -> Bucket:
    """Object storage behind the receiver."""
    found = Bucket()
    hook.answer = found.answer
    return found


def make_s3(log_id: uuid.UUID, hook: HttpReceiver, secret: str = SECRET_ACCESS_KEY) -> Stream:
    return make_stream(
        log_id,
        Stream.Kind.S3,
        {
            "endpoint": hook.url.removesuffix("/hook"),
            "bucket": "audit-archive",
            "prefix": "tamarack/",
            "region": "eu-central-1",
            "access_key_id": ACCESS_KEY_ID,
        },
        secret,
    )


class AuthorizationTests:
    def test_the_published_example_of_a_put(self) -> None:
        """From AWS's documentation of Signature Version 4 for S3: PUT Object."""
        payload = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
        value = authorization(
            "PUT",
            "/test%24file.text",
            {
                "Date": "Fri, 24 May 2013 00:00:00 GMT",
                "Host": "examplebucket.s3.amazonaws.com",
                "x-amz-content-sha256": payload,
                "x-amz-date": "20130524T000000Z",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            access_key_id="AKIAIOSFODNN7EXAMPLE",
            secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            region="us-east-1",
        )
        assert value.endswith(
            "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        )
        assert "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," in value

    def test_the_published_example_of_a_get(self) -> None:
        value = authorization(
            "GET",
            "/test.txt",
            {
                "Host": "examplebucket.s3.amazonaws.com",
                "Range": "bytes=0-9",
                "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
                "x-amz-date": "20130524T000000Z",
            },
            access_key_id="AKIAIOSFODNN7EXAMPLE",
            secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            region="us-east-1",
        )
        assert value.endswith(
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        )


class DeliverTests:
    def test_every_object_is_an_export_that_proves_itself(
        self, hook: HttpReceiver, bucket: Bucket, log_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "MAX_EVENTS", 3)
        stream = make_s3(log_id, hook)
        assert deliver(stream.pk) == 5
        grow(log_id, 2)
        assert deliver(stream.pk) == 2
        name = f"/audit-archive/tamarack/{log_id}/{{:020d}}-{{:020d}}.jsonl"
        assert list(bucket.objects) == [name.format(0, 3), name.format(3, 5), name.format(5, 7)]
        key = str(verifier_of(log_id))
        for content, ends in zip(bucket.objects.values(), [(0, 3), (3, 5), (5, 7)], strict=True):
            found = verify(io.BytesIO(content), public_key=key)
            assert (found.start, found.end) == ends
        whole = next(iter(bucket.objects.values()))
        with pytest.raises(ExportError):
            verify(io.BytesIO(whole.replace(b"ann@", b"eve@", 1)))

    def test_a_wrong_secret_is_told_and_nothing_counts_as_delivered(
        self, hook: HttpReceiver, bucket: Bucket, log_id: uuid.UUID
    ) -> None:
        stream = make_s3(log_id, hook, secret="wrong")
        assert deliver(stream.pk) == 0
        stream.refresh_from_db()
        assert stream.last_error == "The storage answered 403 (SignatureDoesNotMatch)."
        assert (stream.next_seq, bucket.objects) == (0, {})
        bucket.secret = "wrong"
        make_due(stream)
        assert deliver(stream.pk) == 5

    def test_anything_but_200_is_a_failure(self, hook: HttpReceiver, log_id: uuid.UUID) -> None:
        stream = make_s3(log_id, hook)
        for status in (204, 301, 404, 503):
            hook.answer = lambda _, status=status: (status, {}, b"<Code>a<b></Code>")  # type: ignore[misc]
            make_due(stream)
            assert deliver(stream.pk) == 0
            stream.refresh_from_db()
            assert stream.last_error == f"The storage answered {status}."
        assert selectors.size_of(log_id) == 5
