"""The rendered configuration: what settings it takes, and that Envoy has the last word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

from gateway import bootstrap
from gateway import certificates as gateway_certificates
from gateway.configuration import GatewaySettings
from gateway.listeners import DESCRIPTOR
from kms import certificates
from protos.generated import vector_service_pb2 as pb


def settings(home: Path, **changes: Any) -> GatewaySettings:
    return GatewaySettings(
        **{
            "public_host": "localhost",
            "public_port": 8443,
            "bind": "127.0.0.1",
            "addressing": "port",
            "index_ports": range(8444, 8508),
            "index_domain": "svc.localhost",
            "trust_domain": "tamarack.test",
            "tls_max": "1.2",
            "project_rate": 2000,
            "max_request_bytes": 4 << 20,
            "home": home,
            "run_dir": home / "run",
            **changes,
        }
    )


def issue(wanted: GatewaySettings) -> list[str]:
    return gateway_certificates.ensure(
        wanted,
        lambda: certificates.open_authority(wanted.home / "ca", wanted.trust_domain, bytes, bytes),
    )


class SettingsTests:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"bind": "localhost"}, "does not appear to be an IPv4 or IPv6 address"),
            ({"addressing": "path"}, "addressing 'path' has to be port or host"),
            ({"tls_max": "1.1"}, "'1.1' has to be 1.2 or 1.3"),
            ({"trust_domain": "Not Valid"}, "trust domain 'Not Valid'"),
            ({"trust_domain": 'x"\nos.exit() --'}, "trust domain"),
            ({"project_rate": 0}, "project_rate 0 has to be at least 1"),
            ({"max_request_bytes": -1}, "max_request_bytes -1 has to be at least 1"),
            ({"public_port": 8450}, "public port 8450 lies within the index ports 8444-8507"),
            ({"index_ports": range(0)}, "consecutive ports"),
            ({"index_ports": range(8000, 9000, 2)}, "consecutive ports"),
            ({"index_ports": range(65000, 65600)}, "consecutive ports"),
            ({"addressing": "host", "index_domain": "localhost"}, "two labels or more"),
            ({"addressing": "host", "index_domain": "svc.10.0.0.5/x"}, "DNS name"),
        ],
    )
    def test_a_value_that_cannot_work_is_named(
        self, tmp_path: Path, changes: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ValueError, match=words):
            settings(tmp_path, **changes)

    def test_they_are_those_of_the_installation(self) -> None:
        ours = GatewaySettings.from_django()
        assert ours.home == django_settings.TAMARACK_HOME
        assert ours.authorizer_socket == django_settings.TAMARACK_RUN_DIR / "authorizer.sock"
        assert ours.max_request_bytes == django_settings.TAMARACK_MAX_REQUEST_BYTES
        assert ours.index_ports == django_settings.TAMARACK_INDEX_PORTS


class WriteTests:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"addressing": "host"},
            {"tls_max": "1.3"},
            {"bind": "::"},
            {"bind": "::1"},
            {"public_host": "vectors.example.com", "index_domain": "svc.example.com"},
            {"public_host": "10.0.0.5", "index_domain": "svc.10.0.0.5"},
        ],
    )
    def test_envoy_accepts_it(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        wanted = settings(tmp_path, **changes)
        issue(wanted)
        path = bootstrap.write(wanted)
        assert path == tmp_path / "envoy" / "bootstrap.json"
        assert path.stat().st_mode & 0o777 == 0o600
        json.loads(path.read_text())

    def test_what_envoy_refuses_is_said_in_its_words(self, tmp_path: Path) -> None:
        path = tmp_path / "broken.json"
        path.write_text('{"static_resources": {"listeners": [{"no_such_field": 1}]}}')
        with pytest.raises(bootstrap.InvalidBootstrap, match="no_such_field"):
            bootstrap.validate(path)

    def test_it_holds_no_private_key(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        issue(wanted)
        bootstrap.write(wanted)
        written = "".join(path.read_text() for path in (tmp_path / "envoy").iterdir())
        assert "PRIVATE KEY" not in written

    def test_it_is_the_same_however_many_indexes_there_are(self, tmp_path: Path) -> None:
        wanted = settings(tmp_path)
        assert bootstrap.render(wanted) == bootstrap.render(wanted)
        assert "8444" in json.dumps(bootstrap.render(wanted))


def is_repeated(field: FieldDescriptorProto) -> bool:
    return field.label == FieldDescriptorProto.LABEL_REPEATED


class DescriptorTests:
    def test_it_differs_from_the_service_in_names_and_one_number_alone(self) -> None:
        files = FileDescriptorSet.FromString(DESCRIPTOR.read_bytes())
        (ours,) = (file for file in files.file if file.name == "vector_service.proto")
        seen = {}
        for message in ours.message_type:
            true = pb.DESCRIPTOR.message_types_by_name[message.name]
            for field in message.field:
                fact = true.fields_by_name[field.name]
                assert (field.number, is_repeated(field)) == (fact.number, fact.is_repeated)
                if (field.json_name, field.type) != (fact.json_name, fact.type):
                    seen[f"{message.name}.{field.name}"] = (field.json_name, field.type)
        number, text = FieldDescriptorProto.TYPE_UINT32, FieldDescriptorProto.TYPE_UINT64
        assert seen == {
            "NamespaceDescription.record_count": ("record_count", number),
            "NamespaceDescription.size_bytes": ("size_bytes", text),
            "NamespaceDescription.indexed_fields": (
                "indexed_fields",
                FieldDescriptorProto.TYPE_MESSAGE,
            ),
            "ListNamespacesResponse.total_count": ("total_count", FieldDescriptorProto.TYPE_INT32),
        }
