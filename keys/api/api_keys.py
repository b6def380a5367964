"""API keys as Pinecone's Admin API has them, with more fields, and what goes beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.models import Access, ApiKey, KeyUsage, LeakPolicy
from keys.selectors.api_keys import (
    State,
    find_key,
    key_roles,
    keys_of,
    policy_of,
    state_of,
    stops_at,
)
from keys.selectors.rotation import users_of
from keys.services.api_keys import (
    NAME_LENGTH,
    REASON_LENGTH,
    create_api_key,
    disable_api_key,
    enable_api_key,
    revoke_api_key,
    update_api_key,
)
from keys.services.leaks import set_leak_policy
from keys.services.limits import (
    MAX_INDEXES,
    MAX_NAMESPACES,
    MAX_RANGES,
    NAMESPACE_LENGTH,
    Limits,
)
from keys.services.revocation import MAX_IDS, Filter, revoke_api_keys
from keys.services.rotation import IDLE, MAX_IDLE, MAX_OVERLAP, MIN_IDLE, OVERLAP, end_overlap
from keys.services.rotation import rotate_api_key as rotate
from orgs.api.base import OrganizationView
from orgs.permissions import ACCESS_ROLES, DEFAULT_KEY_ROLE, Role
from projects.selectors import get_project
from rest.pagination import LIMIT, TOKEN
from rest.schema import DRY_RUN, IF_MATCH, PAGING, errors, page_of
from rest.serializers import Input
from rest.views import rendered

ROLES = sorted(role.value for role in ACCESS_ROLES)
NEWEST_FIRST = ("-created_at", "id")


class KeyInput(Input):
    """What can be said of a key, new or not."""

    roles = serializers.ListField(
        child=serializers.ChoiceField(ROLES), required=False, max_length=len(ROLES)
    )
    access = serializers.ChoiceField(
        Access.values, required=False, help_text="What it may do of what its roles allow."
    )
    index_ids = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_null=True,
        max_length=MAX_INDEXES,
        help_text="The indexes that it is limited to; null: every index of the project.",
    )
    namespaces = serializers.ListField(
        child=serializers.CharField(
            allow_blank=True, trim_whitespace=False, max_length=NAMESPACE_LENGTH
        ),
        required=False,
        allow_null=True,
        max_length=MAX_NAMESPACES,
        help_text='The namespaces that it is limited to, "" being the default one; null: every'
        " namespace.",
    )
    allowed_ips = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        max_length=MAX_RANGES,
        help_text="CIDR ranges that it may be used from; none: from anywhere.",
    )
    leak_policy = serializers.ChoiceField(
        LeakPolicy.values,
        required=False,
        allow_null=True,
        help_text="What happens when it is found in the open; null: what the project says.",
    )
    not_before = serializers.DateTimeField(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class NewApiKey(KeyInput):
    """The key to make."""

    name = serializers.CharField(max_length=NAME_LENGTH)


class ApiKeyChange(KeyInput):
    """What may be changed; what is left out stays."""

    name = serializers.CharField(required=False, max_length=NAME_LENGTH)


class KeyRotation(Input):
    """How the old secret ends."""

    overlap_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=int(MAX_OVERLAP.total_seconds()),
        default=int(OVERLAP.total_seconds()),
        help_text="How long the old secret works on at most; 0: it ends now.",
    )
    idle_seconds = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=int(MIN_IDLE.total_seconds()),
        max_value=int(MAX_IDLE.total_seconds()),
        default=int(IDLE.total_seconds()),
        help_text="It ends sooner once it has not been used for so long; null: it doesn't.",
    )


class Reason(Input):
    """Why, for those who wonder later."""

    reason = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=REASON_LENGTH
    )


class BulkRevocation(Reason):
    """Which keys are meant: those for which everything that is given holds."""

    ids = serializers.ListField(
        child=serializers.UUIDField(), required=False, min_length=1, max_length=MAX_IDS
    )
    created_before = serializers.DateTimeField(required=False)
    unused_since = serializers.DateTimeField(
        required=False, help_text="Not let in since then, or never."
    )
    created_by = serializers.CharField(required=False, max_length=320)
    name_prefix = serializers.CharField(
        required=False, trim_whitespace=False, max_length=NAME_LENGTH
    )


class KeyPolicyInput(Input):
    """What holds for the project's keys that don't say otherwise."""

    leak_policy = serializers.ChoiceField(LeakPolicy.values)


class UsageFilter(Input):
    """Which counts are meant."""

    secret = serializers.CharField(required=False, max_length=10)
    plane = serializers.ChoiceField(KeyUsage.Plane.values, required=False)
    outcome = serializers.ChoiceField(KeyUsage.Outcome.values, required=False)
    operation = serializers.CharField(required=False, max_length=64)
    index_id = serializers.UUIDField(required=False)
    since = serializers.DateField(required=False, help_text="The first day, UTC.")
    until = serializers.DateField(required=False, help_text="The last day, UTC.")


class APIKeySerializer(serializers.Serializer[Any]):
    """A key, without its secret."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    project_id = serializers.UUIDField()
    roles = serializers.ListField(child=serializers.ChoiceField(ROLES))
    state = serializers.ChoiceField([state.value for state in State])
    masked = serializers.CharField(help_text="Enough of the secret to recognise it.")
    access = serializers.ChoiceField(Access.values)
    index_ids = serializers.ListField(child=serializers.UUIDField(), allow_null=True)
    namespaces = serializers.ListField(child=serializers.CharField(), allow_null=True)
    allowed_ips = serializers.ListField(child=serializers.CharField())
    leak_policy = serializers.ChoiceField(LeakPolicy.values, allow_null=True)
    leak_reported_at = serializers.DateTimeField(allow_null=True)
    not_before = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    stops_at = serializers.DateTimeField(
        allow_null=True,
        help_text="Its expiry, or when its secret reaches the organization's maximum age.",
    )
    disabled_at = serializers.DateTimeField(allow_null=True)
    disabled_reason = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    last_used_operation = serializers.CharField()
    last_used_index_id = serializers.UUIDField(allow_null=True)
    last_used_ip = serializers.CharField()

    def to_representation(self, instance: Any) -> Any:
        """With what is not in the row; roles come by `context`, looked up for all keys at once."""
        key: ApiKey = instance
        vars(key).update(
            roles=self.context["roles"].get(key.pk, []),
            state=state_of(key),
            stops_at=stops_at(key),
        )
        return {**super().to_representation(key), "leak_policy": key.leak_policy or None}


class APIKeyWithSecretSerializer(serializers.Serializer[Any]):
    """A key with a new secret, which is shown this once."""

    key = APIKeySerializer()
    value = serializers.CharField()


class SecretUserSerializer(serializers.Serializer[Any]):
    """An address and client that showed a secret."""

    address = serializers.CharField()
    client = serializers.CharField()
    count = serializers.IntegerField()
    last_at = serializers.DateTimeField()


class APIKeySecretSerializer(serializers.Serializer[Any]):
    """What is known of one of a key's secrets. `replaced_at`, `expires_at` and `idle_seconds` are
    those of an old one.
    """

    id = serializers.CharField(source="lookup_id", help_text="The part that may be shown.")
    masked = serializers.CharField()
    is_current = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    replaced_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    idle_seconds = serializers.IntegerField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    users = SecretUserSerializer(many=True, help_text="Who used it, the latest first.")


class APIKeySecretListSerializer(serializers.Serializer[Any]):
    """A key's secrets: the current one, and the one before while both work or worked last."""

    data = APIKeySecretSerializer(many=True)  # type: ignore[assignment]  # REST framework takes it off


class KeyUsageSerializer(serializers.Serializer[Any]):
    """How often a key did one thing from one address on one day."""

    day = serializers.DateField()
    secret = serializers.CharField()
    plane = serializers.ChoiceField(KeyUsage.Plane.values)
    operation = serializers.CharField()
    index_id = serializers.UUIDField(allow_null=True)
    address = serializers.CharField()
    client = serializers.CharField()
    outcome = serializers.ChoiceField(KeyUsage.Outcome.values)
    count = serializers.IntegerField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()


class BulkRevocationSerializer(serializers.Serializer[Any]):
    """The keys that were revoked or, with `dry_run`, would have been."""

    data = APIKeySerializer(many=True)  # type: ignore[assignment]  # REST framework takes it off
    dry_run = serializers.BooleanField()


class KeyPolicySerializer(serializers.Serializer[Any]):
    """What holds for the project's keys that don't say otherwise."""

    project_id = serializers.UUIDField()
    leak_policy = serializers.ChoiceField(LeakPolicy.values)


def shown(keys: Sequence[ApiKey]) -> list[dict[str, Any]]:
    """The keys as JSON objects. One query for all."""
    context = {"roles": key_roles(keys)}
    return cast("list[dict[str, Any]]", APIKeySerializer(keys, many=True, context=context).data)


def limits_in(body: dict[str, Any]) -> Limits:
    """The limits that a body asks for; null for `leak_policy` is the project's."""
    limits = {name: body[name] for name in Limits.__annotations__ if name in body}
    if "leak_policy" in limits:
        limits["leak_policy"] = limits["leak_policy"] or ""
    return cast("Limits", limits)


def roles_in(body: dict[str, Any]) -> list[Role] | None:
    """The roles that a body asks for; None: it doesn't."""
    return [Role(role) for role in body["roles"]] if "roles" in body else None


class KeyView(OrganizationView):
    """What answers with one key have in common."""

    def key_answer(self, key: ApiKey) -> Response:
        """The key and its version."""
        return self.answer(shown([key])[0], version=key.version)

    def secret_answer(self, key: ApiKey, secret: str, status: int = 200) -> Response:
        """The key with its new secret."""
        data = {"key": shown([key])[0], "value": secret}
        return self.answer(data, status=status, version=key.version)


class ProjectKeysView(KeyView):
    """`/admin/projects/{id}/api-keys`"""

    @extend_schema(
        operation_id="list_api_keys",
        parameters=[*PAGING],
        responses={200: page_of(APIKeySerializer), **errors(400, 404)},
    )
    def get(self, request: Request, project_id: UUID) -> Response:
        """The project's keys, newest first; all of them unless `limit` is given."""
        self.query(Input)
        keys = keys_of(self.actor, get_project(self.actor, project_id))
        if {LIMIT, TOKEN} & set(request.query_params):
            return self.page(keys, shown, order=NEWEST_FIRST)
        return self.answer({"data": shown(list(keys)), "pagination": None})

    @extend_schema(
        operation_id="create_api_key",
        request=NewApiKey,
        responses={201: APIKeyWithSecretSerializer, **errors(402, 404, 412)},
    )
    def post(self, request: Request, project_id: UUID) -> Response:
        """Make a key. Its secret is shown this once."""
        body = self.body(NewApiKey)
        key, secret = create_api_key(
            actor=self.actor,
            project=get_project(self.actor, project_id),
            name=body["name"],
            roles=(DEFAULT_KEY_ROLE,) if (roles := roles_in(body)) is None else roles,
            limits=limits_in(body),
        )
        return self.secret_answer(key, secret, status=201)


class ApiKeyView(KeyView):
    """`/admin/api-keys/{id}`"""

    @extend_schema(operation_id="get_api_key", responses={200: APIKeySerializer, **errors(404)})
    def get(self, request: Request, key_id: UUID) -> Response:
        """One key."""
        return self.key_answer(find_key(self.actor, key_id))

    @extend_schema(
        operation_id="update_api_key",
        parameters=[IF_MATCH],
        request=ApiKeyChange,
        responses={200: APIKeySerializer, **errors(404, 412)},
    )
    def patch(self, request: Request, key_id: UUID) -> Response:
        """Change what is given. `roles` takes the place of all roles; the secret stays."""
        body = self.body(ApiKeyChange)
        key = update_api_key(
            actor=self.actor,
            key_id=key_id,
            name=body.get("name"),
            roles=roles_in(body),
            limits=limits_in(body),
            check=self.check_version,
        )
        return self.key_answer(key)

    @extend_schema(
        operation_id="delete_api_key",
        parameters=[IF_MATCH],
        responses={202: None, **errors(404, 412)},
    )
    def delete(self, request: Request, key_id: UUID) -> Response:
        """Revoke the key, at once and for good."""
        revoke_api_key(actor=self.actor, key_id=key_id, check=self.check_version)
        return self.answer(status=202)


class RotateKeyView(KeyView):
    """`/admin/api-keys/{id}/rotate`"""

    @extend_schema(
        operation_id="rotate_api_key",
        parameters=[IF_MATCH],
        request=KeyRotation,
        responses={200: APIKeyWithSecretSerializer, **errors(404, 412)},
    )
    def post(self, request: Request, key_id: UUID) -> Response:
        """A new secret, shown this once. The one before works on until the overlap is over, or
        until it has not been used for a while; a third one never works.
        """
        body = self.body(KeyRotation)
        idle = body["idle_seconds"]
        key, secret = rotate(
            actor=self.actor,
            key_id=key_id,
            overlap=timedelta(seconds=body["overlap_seconds"]),
            idle=None if idle is None else timedelta(seconds=idle),
            check=self.check_version,
        )
        return self.secret_answer(key, secret)


class EndOverlapView(KeyView):
    """`/admin/api-keys/{id}/end-overlap`"""

    @extend_schema(
        operation_id="end_api_key_overlap",
        parameters=[IF_MATCH],
        request=None,
        responses={200: APIKeySerializer, **errors(404, 412)},
    )
    def post(self, request: Request, key_id: UUID) -> Response:
        """Stop the old secret of a rotated key now; 412 where none works any more."""
        return self.key_answer(
            end_overlap(actor=self.actor, key_id=key_id, check=self.check_version)
        )


class DisableKeyView(KeyView):
    """`/admin/api-keys/{id}/disable`"""

    @extend_schema(
        operation_id="disable_api_key",
        parameters=[IF_MATCH],
        request=Reason,
        responses={200: APIKeySerializer, **errors(404, 412)},
    )
    def post(self, request: Request, key_id: UUID) -> Response:
        """Switch the key off until it is enabled again."""
        key = disable_api_key(
            actor=self.actor,
            key_id=key_id,
            reason=self.body(Reason)["reason"],
            check=self.check_version,
        )
        return self.key_answer(key)


class EnableKeyView(KeyView):
    """`/admin/api-keys/{id}/enable`"""

    @extend_schema(
        operation_id="enable_api_key",
        parameters=[IF_MATCH],
        request=Reason,
        responses={200: APIKeySerializer, **errors(404, 412)},
    )
    def post(self, request: Request, key_id: UUID) -> Response:
        """Switch a disabled key on again."""
        key = enable_api_key(
            actor=self.actor,
            key_id=key_id,
            reason=self.body(Reason)["reason"],
            check=self.check_version,
        )
        return self.key_answer(key)


class KeySecretsView(OrganizationView):
    """`/admin/api-keys/{id}/secrets`"""

    @extend_schema(
        operation_id="list_api_key_secrets",
        responses={200: APIKeySecretListSerializer, **errors(400, 404)},
    )
    def get(self, request: Request, key_id: UUID) -> Response:
        """The key's secrets and who still uses each; the texts themselves are kept nowhere."""
        self.query(Input)
        key = find_key(self.actor, key_id)
        users = users_of(key)
        secrets = list(key.secrets.all())
        for secret in secrets:
            vars(secret)["users"] = users[secret.lookup_id]
        return self.answer({"data": APIKeySecretSerializer(secrets, many=True).data})


class KeyUsageView(OrganizationView):
    """`/admin/api-keys/{id}/usage`"""

    @extend_schema(
        operation_id="list_api_key_usage",
        parameters=[UsageFilter, *PAGING],
        responses={200: page_of(KeyUsageSerializer), **errors(400, 404)},
    )
    def get(self, request: Request, key_id: UUID) -> Response:
        """What the key was used for in the last 90 days, counted per day, the latest first."""
        wanted = self.query(UsageFilter)
        names = {"since": "day__gte", "until": "day__lte"}
        uses = find_key(self.actor, key_id).usage.filter(
            **{names.get(name, name): value for name, value in wanted.items()}
        )
        return self.page(uses, KeyUsageSerializer, order=("-last_at", "-id"))


class BulkRevokeView(OrganizationView):
    """`/admin/projects/{id}/api-keys/bulk-revoke`"""

    @extend_schema(
        operation_id="bulk_revoke_api_keys",
        parameters=[DRY_RUN],
        request=BulkRevocation,
        responses={200: BulkRevocationSerializer, **errors(404)},
    )
    def post(self, request: Request, project_id: UUID) -> Response:
        """Revoke every key that the filter finds, all or none; with `dry_run` only find them."""
        body = self.body(BulkRevocation)
        ids = body.get("ids")
        wanted = Filter(
            ids=None if ids is None else frozenset(ids),
            created_before=body.get("created_before"),
            unused_since=body.get("unused_since"),
            created_by=body.get("created_by"),
            name_prefix=body.get("name_prefix"),
        )
        keys = revoke_api_keys(
            actor=self.actor,
            project_id=project_id,
            wanted=wanted,
            reason=body["reason"],
            dry_run=self.dry_run,
        )
        return self.answer({"data": shown(keys), "dry_run": self.dry_run})


class KeyPolicyView(OrganizationView):
    """`/admin/projects/{id}/key-policy`"""

    @extend_schema(
        operation_id="get_key_policy", responses={200: KeyPolicySerializer, **errors(404)}
    )
    def get(self, request: Request, project_id: UUID) -> Response:
        """What holds for the project's keys that don't say otherwise."""
        policy = policy_of(self.actor, get_project(self.actor, project_id))
        return self.answer(rendered(policy, KeyPolicySerializer), version=policy.version)

    @extend_schema(
        operation_id="update_key_policy",
        parameters=[IF_MATCH],
        request=KeyPolicyInput,
        responses={200: KeyPolicySerializer, **errors(404, 412)},
    )
    def patch(self, request: Request, project_id: UUID) -> Response:
        """Change it; keys with a policy of their own keep that."""
        policy = set_leak_policy(
            actor=self.actor,
            project_id=project_id,
            leak_policy=self.body(KeyPolicyInput)["leak_policy"],
            check=self.check_version,
        )
        return self.answer(rendered(policy, KeyPolicySerializer), version=policy.version)
