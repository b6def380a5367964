"""Delivery as objects in S3-compatible storage, each an export that `audit_verify` checks.

The one request that is needed, a PUT, is signed here (AWS Signature Version 4): a client library
would be a hundred times the code and would follow redirects and proxies on its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from django.utils import timezone

from audit.exports import export_lines
from audit.models import Stream
from audit.streams import https
from audit.streams.batches import Batch
from audit.streams.targets import DeliveryFailed

ALGORITHM = "AWS4-HMAC-SHA256"
_CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")


def authorization(
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    access_key_id: str,
    secret: str,
    region: str,
) -> str:
    """The value of `Authorization` for a request without a query (SigV4, service s3).

    Args:
        path: as it is sent, percent-encoded.
        headers: all of them are signed; `x-amz-date` and `x-amz-content-sha256` among them.
    """
    lowered = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = sorted(lowered)
    signed_headers = ";".join(names)
    request = "\n".join(
        [
            method,
            path,
            "",
            *(f"{name}:{lowered[name]}" for name in names),
            "",
            signed_headers,
            lowered["x-amz-content-sha256"],
        ]
    )
    time = lowered["x-amz-date"]
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signed = hmac.digest(key, f"{ALGORITHM}\n{time}\n{scope}\n{hashed}".encode(), hashlib.sha256)
    return (
        f"{ALGORITHM} Credential={access_key_id}/{scope},SignedHeaders={signed_headers},"
        f"Signature={signed.hex()}"
    )


def object_key(prefix: str, batch: Batch) -> str:
    """Names sort as the log does: numbers have twenty digits."""
    return f"{prefix}{batch.log_id}/{batch.start:020d}-{batch.end:020d}.jsonl"


def deliver(stream: Stream, secret: str, batch: Batch) -> None:
    """PUT the batch as one object; 200 acknowledges it.

    Raises:
        DeliveryFailed: it was not stored.
    """
    config = stream.config
    body = "".join(export_lines(batch.log_id, batch.start, batch.end)).encode()
    base = urlsplit(config["endpoint"])
    path = quote(f"/{config['bucket']}/{object_key(config['prefix'], batch)}", safe="/-_.~")
    headers = {
        "Host": base.netloc,
        "Content-Type": "application/x-ndjson",
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-date": timezone.now().strftime("%Y%m%dT%H%M%SZ"),
    }
    headers["Authorization"] = authorization(
        "PUT",
        path,
        headers,
        access_key_id=config["access_key_id"],
        secret=secret,
        region=config["region"],
    )
    answer = https.send(
        "PUT",
        f"{base.scheme}://{base.netloc}{path}",
        headers=headers,
        body=body,
        ca_pem=config["ca_pem"],
    )
    if answer.status != 200:  # noqa: PLR2004  what a PUT answers
        code = _CODE.search(answer.body)
        said = f" ({code[1].decode()})" if code else ""
        raise DeliveryFailed(f"The storage answered {answer.status}{said}.")
