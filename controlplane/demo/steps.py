"""The steps of the demonstration: each returns what it saw, or raises `StepFailed`."""

from __future__ import annotations

import json
import os
import secrets
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from pinecone import NotFoundError, Pinecone, UnauthorizedError

from controlplane import home
from controlplane.demo import digits
from controlplane.demo.scan import MARKER, PATTERN, scan
from indexes.models import DataKey, Index
from keys.models import ApiKey
from keys.services.api_keys import create_api_key, revoke_api_key
from orgs.actors import Actor, system
from orgs.models import Organization, User
from orgs.selectors.bindings import actor_for
from orgs.services.organizations import create_organization
from orgs.services.people import create_user
from projects.models import Project
from projects.services import create_project

OPERATOR: Actor = system("demo")
INDEX_NAME, SECOND_NAME = "digits", "scratch"
NOBODY = uuid.UUID(int=0)
OWNER_EMAIL = "owner@demo.example"
MIN_ACCURACY = 0.95
MAX_REVOCATION_SECONDS = 1.0
BATCH = 200


class StepFailed(Exception):
    """A step saw something else than it promises."""


def expect(condition: bool, message: str) -> None:
    """Fail the step unless the condition holds."""
    if not condition:
        raise StepFailed(message)


@dataclass
class Demo:
    """What one run of the demonstration has made so far."""

    gateway: str
    ca_file: str
    owner: User | None = None
    password: str = ""
    organization: Organization | None = None
    project: Project | None = None
    key: ApiKey | None = None
    secret: str = ""
    host: str = ""
    dataset: list[digits.Digit] = field(default_factory=list)
    client_id: str = ""
    client_secret: str = ""
    reader: tuple[str, str] = ("", "")
    decision_id: str = ""

    def client(self, secret: str | None = None) -> Pinecone:
        """The official client; the address and the CA are the two settings a developer changes."""
        return Pinecone(api_key=secret or self.secret, host=self.gateway, ssl_ca_certs=self.ca_file)

    def wait_for(self, name: str, seconds: float = 60) -> Any:
        """The index once it is ready."""
        client, deadline = self.client(), time.monotonic() + seconds
        while True:
            model = client.describe_index(name)
            if model.status.ready:
                return model
            expect(
                model.status.state == "Initializing" and time.monotonic() < deadline,
                f"index {name} is {model.status.state} in place of Ready",
            )
            time.sleep(0.05)


def step_tenant(demo: Demo) -> str:
    """Organization with an owner, project, API key"""
    previous = read_demo_file()
    demo.password = secrets.token_urlsafe(15)
    organization = Organization.objects.filter(pk=previous.get("organization_id", NOBODY)).first()
    owner = User.objects.filter(email=OWNER_EMAIL).first()
    if owner is None:
        owner = create_user(actor=OPERATOR, email=OWNER_EMAIL, password=demo.password)
    else:
        owner.set_password(demo.password)
        owner.save(update_fields=["password"])
    if organization is None:
        organization = create_organization(actor=OPERATOR, name="Tamarack Demo", owner=owner)
    actor = actor_for(owner)
    project = Project.objects.filter(
        pk=previous.get("project_id", NOBODY), organization=organization
    ).first()
    if project is None:
        project = create_project(actor=actor, organization_id=organization.pk, name="Handwriting")
    demo.owner, demo.organization, demo.project = owner, organization, project
    demo.key, demo.secret = create_api_key(actor=actor_for(owner), project=project, name="demo")
    client = demo.client()
    for name in (INDEX_NAME, SECOND_NAME):  # of an earlier run
        with suppress(NotFoundError):
            client.delete_index(name)
    return f"{organization.name} / {project.name}, owner {owner.email}"


def step_provision(demo: Demo) -> str:
    """An encrypted index, provisioned through Celery"""
    demo.client().create_index(
        INDEX_NAME,
        dimension=digits.DIMENSION,
        metric="euclidean",
        spec={"serverless": {"cloud": "aws", "region": "us-east-1"}},
        timeout=-1,
    )
    demo.host = str(demo.wait_for(INDEX_NAME).host).removeprefix("https://")
    return f"{INDEX_NAME}, {digits.DIMENSION} dimensions, euclidean, at {demo.host}"


def step_upsert(demo: Demo) -> str:
    """Real vectors upserted by the official client"""
    demo.dataset = digits.load()
    index = demo.client().index(host=demo.host, grpc=True)
    for start in range(0, len(demo.dataset), BATCH):
        index.upsert(
            vectors=[
                {"id": d.id, "values": d.pixels, "metadata": {"digit": d.label}}
                for d in demo.dataset[start : start + BATCH]
            ]
        )
    planted = [*PATTERN, *([1.5] * (digits.DIMENSION - len(PATTERN)))]
    index.upsert(
        vectors=[{"id": MARKER, "values": planted, "metadata": {"note": MARKER}}],
        namespace="planted",
    )
    stats = index.describe_index_stats()
    expect(
        stats.total_vector_count == len(demo.dataset) + 1,
        f"{stats.total_vector_count} vectors counted in place of {len(demo.dataset) + 1}",
    )
    return f"{len(demo.dataset):,} digits and one marked record"


def _accuracy(demo: Demo, index: Any) -> float:
    """Share of digits whose nearest other digit shows the same number."""
    labels = {digit.id: digit.label for digit in demo.dataset}

    def is_right(digit: digits.Digit) -> bool:
        found = index.query(vector=digit.pixels, top_k=2).matches
        return next(labels[match.id] for match in found if match.id != digit.id) == digit.label

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(is_right, demo.dataset)) / len(demo.dataset)


def _query_step(demo: Demo, *, grpc: bool) -> str:
    accuracy = _accuracy(demo, demo.client().index(host=demo.host, grpc=grpc))
    expect(accuracy >= MIN_ACCURACY, f"accuracy {accuracy:.4f} is below {MIN_ACCURACY}")
    return f"leave-one-out accuracy {accuracy:.4f} over {len(demo.dataset):,} queries"


def step_query_grpc(demo: Demo) -> str:
    """Nearest neighbours over gRPC through the TLS gateway"""
    return _query_step(demo, grpc=True)


def step_query_rest(demo: Demo) -> str:
    """Nearest neighbours over REST through the TLS gateway"""
    return _query_step(demo, grpc=False)


def step_revoke(demo: Demo) -> str:
    """A second key is revoked and refused on REST and gRPC"""
    assert demo.owner is not None and demo.project is not None  # noqa: S101  set by the first step
    owner = actor_for(demo.owner)
    key, secret = create_api_key(actor=owner, project=demo.project, name="to be revoked")
    client = demo.client(secret)
    channels: dict[str, Any] = {
        "REST": client.index(host=demo.host),
        "gRPC": client.index(host=demo.host, grpc=True),
    }
    probe = demo.dataset[0].pixels
    for index in channels.values():
        index.query(vector=probe, top_k=1)
    revoke_api_key(actor=owner, key_id=key.pk)
    revoked_at = time.monotonic()

    def seconds_until_refused(index: Any) -> float:
        while time.monotonic() - revoked_at < 5 * MAX_REVOCATION_SECONDS:
            try:
                index.query(vector=probe, top_k=1)
            except UnauthorizedError:
                return time.monotonic() - revoked_at
        return float("inf")

    with ThreadPoolExecutor(len(channels)) as pool:
        times = dict(zip(channels, pool.map(seconds_until_refused, channels.values()), strict=True))
    for name, seconds in times.items():
        expect(
            seconds <= MAX_REVOCATION_SECONDS,
            f"{name} took {seconds:.2f} s to refuse the revoked key",
        )
    return ", ".join(f"{name} after {seconds * 1000:.0f} ms" for name, seconds in times.items())


def step_scan(demo: Demo) -> str:
    """Every file searched for the planted plaintext"""
    assert demo.project is not None  # noqa: S101  set by the first step
    index = demo.client().index(host=demo.host)
    found = index.fetch(ids=[MARKER], namespace="planted")
    expect(
        MARKER in found.vectors, "the planted record is not there, so a clean scan proves nothing"
    )
    control = settings.TAMARACK_HOME / "indexes" / "positive-control.txt"
    try:
        control.write_text(f"what a leak would look like: {MARKER}")
        checked = scan(settings.TAMARACK_HOME)
    finally:
        control.unlink(missing_ok=True)
    expect(str(control) in checked.hits, "the positive control was not found: the scan is blind")
    leaks = [hit for hit in checked.hits if hit != str(control)]
    expect(not leaks, f"plaintext in {', '.join(leaks)}")
    return f"{checked.files} files, {checked.bytes / 2**20:.1f} MiB: nothing found but the control"


def step_shred(demo: Demo) -> str:
    """A second index is deleted and its key shredded"""
    client = demo.client()
    client.create_index(
        SECOND_NAME,
        dimension=3,
        metric="cosine",
        spec={"serverless": {"cloud": "aws", "region": "us-east-1"}},
        timeout=-1,
    )
    host = demo.wait_for(SECOND_NAME).host
    client.index(host=host).upsert(vectors=[("a", [0.1, 0.2, 0.3])])
    row = Index.objects.get(project=demo.project, name=SECOND_NAME, deleted_at=None)
    client.delete_index(SECOND_NAME, timeout=-1)
    deadline = time.monotonic() + 60
    while client.has_index(SECOND_NAME):
        expect(time.monotonic() < deadline, "the index is still there after 60 s")
        time.sleep(0.05)
    live = DataKey.objects.filter(index=row, shredded_at=None).count()
    expect(live == 0, "its data key is still there")
    demo.wait_for(INDEX_NAME)
    return "gone (404), no copy of its key is left"


STEPS: tuple[Callable[[Demo], str], ...] = (
    step_tenant,
    step_provision,
    step_upsert,
    step_query_grpc,
    step_query_rest,
    step_revoke,
    step_scan,
    step_shred,
)


def demo_file() -> Path:
    """Where a client finds what it needs while the demonstration serves."""
    return Path(settings.TAMARACK_HOME) / "demo.json"


def read_demo_file() -> dict[str, str]:
    """What an earlier run left, or nothing."""
    try:
        return dict(json.loads(demo_file().read_text()))
    except (OSError, ValueError):
        return {}


def write_demo_file(demo: Demo) -> None:
    """`demo.json`, mode 0600."""
    assert demo.organization is not None and demo.project is not None and demo.owner is not None  # noqa: S101  set by the first step
    content = {
        "gateway": demo.gateway,
        "ca_file": demo.ca_file,
        "organization_id": str(demo.organization.pk),
        "project_id": str(demo.project.pk),
        "api_key": demo.secret,
        "client_id": demo.client_id,
        "client_secret": demo.client_secret,
        "owner_email": demo.owner.email,
        "owner_password": demo.password,
        "index_name": INDEX_NAME,
        "index_host": demo.host,
    }
    home.write_private(demo_file(), json.dumps(content, indent=2) + "\n")


def trust_ca(ca_file: str) -> None:
    """The client's gRPC channel reads its CA from this variable alone."""
    os.environ["SSL_CERT_FILE"] = ca_file
