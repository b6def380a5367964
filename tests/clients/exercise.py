"""What a developer does with an index, by whichever official Python client this interpreter has.

    python exercise.py rest|grpc NAME       PINECONE_API_KEY, GATEWAY and CA_FILE in the environment

Uses only calls that every major version since 7 has. Prints `ok` at the end.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from pinecone import Pinecone, ServerlessSpec


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def main(transport: str, name: str) -> None:
    settings = {
        "api_key": os.environ["PINECONE_API_KEY"],
        "host": os.environ["GATEWAY"],
        "ssl_ca_certs": os.environ["CA_FILE"],
    }
    if transport == "grpc":
        from pinecone.grpc import PineconeGRPC

        client = PineconeGRPC(**settings)
    else:
        client = Pinecone(**settings)
    client.create_index(
        name=name,
        dimension=4,
        metric="cosine",
        spec=ServerlessSpec(cloud="aws", region="us-east-1"),
        tags={"team": "search"},
        timeout=-1,
    )
    wait_until(lambda: client.describe_index(name).status["ready"], "never ready")
    model = client.describe_index(name)
    assert model.dimension == 4 and model.metric == "cosine", model
    assert name in [found.name for found in client.list_indexes()]
    index = client.Index(host=model.host)

    vectors = [
        {
            "id": f"v{n}",
            "values": [1.0, n / 10, 0.5, 0.25],
            "metadata": {"n": n, "even": n % 2 == 0},
        }
        for n in range(10)
    ]
    written = index.upsert(vectors=vectors, namespace="books")
    assert written.upserted_count == 10
    found = index.query(
        vector=[1.0, 0.3, 0.5, 0.25],
        top_k=3,
        namespace="books",
        filter={"even": True},
        include_metadata=True,
    )
    assert next(match.id for match in found.matches) in {"v2", "v4"}, found
    assert all(match.metadata["even"] for match in found.matches), found
    if getattr(written, "response_info", None):  # REST since 9: reads tell if they saw a write
        committed = written.response_info.lsn_committed
        assert committed and found.response_info.is_reconciled(committed), found.response_info
    fetched = index.fetch(ids=["v3", "absent"], namespace="books")
    assert list(fetched.vectors) == ["v3"], fetched
    assert [round(x, 6) for x in fetched.vectors["v3"].values] == [1.0, 0.3, 0.5, 0.25]
    listed = []
    for page in index.list(prefix="v", namespace="books"):
        for item in page if hasattr(page, "__iter__") else page.vectors:
            listed.append(getattr(item, "id", item))
    assert sorted(listed) == [f"v{n}" for n in range(10)], listed
    index.update(id="v3", set_metadata={"n": 33}, namespace="books")
    assert index.fetch(ids=["v3"], namespace="books").vectors["v3"].metadata["n"] == 33
    index.delete(ids=["v0", "v1"], namespace="books")
    stats = index.describe_index_stats()
    assert stats.total_vector_count == 8, stats
    assert stats.namespaces["books"].vector_count == 8, stats
    index.delete(delete_all=True, namespace="books")
    wait_until(lambda: index.describe_index_stats().total_vector_count == 0, "not emptied")
    client.delete_index(name, timeout=-1)
    wait_until(lambda: name not in [found.name for found in client.list_indexes()], "not dropped")
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
