"""Generates the Python stubs and the gateway's descriptor set from the .proto files in this folder.

python -m protos.generate            writes protos/generated/
python -m protos.generate --check    exits 1 where the committed files differ (CI)
"""

from __future__ import annotations

import filecmp
import importlib.resources
import re
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

HERE = Path(__file__).parent
GENERATED = HERE / "generated"
SERVICES = ("vector_service", "key_service")
# The namespace methods speak snake_case over REST, the vector methods camelCase.
SNAKE_CASE_OVER_REST = {
    "NamespaceDescription": ("record_count", "size_bytes", "indexed_fields"),
    "ListNamespacesResponse": ("total_count",),
}
# JSON prints 64-bit integers as strings. Clients from before 2026-07 want a number here, and 32
# bits (the same bytes on the wire) hold a namespace's number of records, though not its size.
NUMBER_OVER_REST = {"NamespaceDescription": ("record_count",)}


def generate(out: Path) -> None:
    """Write stubs (`*_pb2*.py`, `.pyi`) for every service and `vector_service.pb` into `out`.

    The stubs have the true types; `vector_service.pb` is what the gateway's transcoder prints by.

    Raises:
        SystemExit: protoc refused a file; its message is on stderr.
    """
    import google.api  # noqa: PLC0415  namespace package of googleapis-common-protos
    from grpc_tools import protoc  # noqa: PLC0415  development tool, absent at run time

    bundled = str(importlib.resources.files("grpc_tools") / "_proto")
    common = str(Path(next(iter(google.api.__path__))).parents[1])
    include = [f"-I{HERE}", f"-I{bundled}", f"-I{common}"]
    for service in SERVICES:
        outputs = [
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--plugin=protoc-gen-mypy={Path(sys.prefix) / 'bin' / 'protoc-gen-mypy'}",
            f"--mypy_out=quiet:{out}",
        ]
        if protoc.main(["protoc", *include, *outputs, f"{service}.proto"]):
            raise SystemExit(f"protoc failed on {service}.proto")
    descriptor = [
        f"--descriptor_set_out={out / 'vector_service.pb'}",
        "--include_imports",
        "vector_service.proto",
    ]
    if protoc.main(["protoc", *include, *descriptor]):
        raise SystemExit("protoc failed to write vector_service.pb")
    _shape_for_rest(out / "vector_service.pb")
    for stub in out.glob("*_pb2_grpc.py"):
        text = stub.read_text()
        stub.write_text(
            re.sub(r"^import (\w+_pb2) as", r"from protos.generated import \1 as", text, flags=re.M)
        )
    (out / "__init__.py").touch()


def _shape_for_rest(path: Path) -> None:
    """Give the descriptor set the names and number types that the official REST clients read."""
    files = FileDescriptorSet.FromString(path.read_bytes())
    (service,) = (file for file in files.file if file.name == "vector_service.proto")
    for message in service.message_type:
        for field in message.field:
            if field.name in SNAKE_CASE_OVER_REST.get(message.name, ()):
                field.json_name = field.name
            if field.name in NUMBER_OVER_REST.get(message.name, ()):
                field.type = FieldDescriptorProto.TYPE_UINT32
    path.write_bytes(files.SerializeToString(deterministic=True))


def main() -> int:
    """Generate, or compare with what is committed."""
    if "--check" not in sys.argv:
        GENERATED.mkdir(exist_ok=True)
        generate(GENERATED)
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        names = sorted(p.name for p in Path(fresh).iterdir())
        _, differ, missing = filecmp.cmpfiles(fresh, GENERATED, names, shallow=False)
    for name in [*differ, *missing]:
        print(f"protos/generated/{name} differs: run `make protos`", file=sys.stderr)
    return 1 if differ or missing else 0


if __name__ == "__main__":
    sys.exit(main())
