"""Puts recorded events into their logs: numbers them, chains them, grows the tree, signs it.

Apart from the requests that record them, so that two changes of one organization never wait for
each other. Whatever dies, and however many sealers run: each log grows in transactions of its own,
under its row's lock.
"""

from __future__ import annotations

import logging
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import transaction

from audit import notes
from audit.canonical import canonical
from audit.chain import chained
from audit.documents import document_of
from audit.merkle import Frontier, Node, leaf_hash, nodes_of
from audit.models import Checkpoint, Log, SealedEvent, TreeNode, UnsealedEvent
from audit.selectors import hashes_of
from audit.signing import origin_of, signing_key

BATCH = 500
"""Events a transaction: it holds SQLite's only write lock."""

logger = logging.getLogger(__name__)


def seal_all() -> int:
    """Seal every event that is committed now. One log's trouble does not stop the others.

    Returns:
        How many were sealed.

    Raises:
        KeyUnavailable: the key that signs can't be had; nothing is sealed then.
    """
    # Outside a transaction: with nothing to do, no lock is taken.
    waiting = list(
        UnsealedEvent.objects.order_by("log_id").values_list("log_id", flat=True).distinct()
    )
    if not waiting:
        return 0
    key = signing_key()
    sealed = 0
    for log_id in waiting:
        try:
            while count := seal_log(log_id, key):
                sealed += count
        except Exception:  # the others have to be sealed all the same
            logger.exception("The log %s can't be sealed now; its events wait", log_id)
    return sealed


@transaction.atomic
def seal_log(log_id: UUID, key: Ed25519PrivateKey, limit: int = BATCH) -> int:
    """Append up to `limit` waiting events to the log, oldest first, and sign what it is then."""
    Log.objects.get_or_create(pk=log_id)
    log = Log.objects.select_for_update().get(pk=log_id)
    waiting = list(
        UnsealedEvent.objects.filter(log_id=log_id)
        .select_related("event")
        .order_by("event__time", "event_id")[:limit]
    )
    if not waiting:
        return 0
    edge = nodes_of(0, log.size)
    found = hashes_of(log_id, set(edge))
    frontier = Frontier(log.size, [found[node] for node in edge])
    chain = bytes(log.chain_hash)
    sealed: list[SealedEvent] = []
    nodes: list[tuple[Node, bytes]] = []
    for row in waiting:
        leaf = leaf_hash(canonical(document_of(row.event)))
        chain = chained(chain, leaf)
        sealed.append(
            SealedEvent(
                log_id=log_id,
                seq=frontier.size,
                event_id=row.event_id,
                leaf_hash=leaf,
                chain_hash=chain,
            )
        )
        nodes += frontier.append(leaf)[1:]
    SealedEvent.objects.bulk_create(sealed)
    TreeNode.objects.bulk_create(
        TreeNode(log_id=log_id, level=node.level, index=node.number, hash=hashed)
        for node, hashed in nodes
    )
    UnsealedEvent.objects.filter(pk__in=[row.pk for row in waiting]).delete()
    log.size, log.chain_hash = frontier.size, chain
    log.save(update_fields=["size", "chain_hash"])
    tree = notes.Tree(origin_of(log_id), frontier.size, frontier.root())
    Checkpoint.objects.create(
        log_id=log_id, size=tree.size, root=tree.root, note=notes.sign(tree, key)
    )
    return len(sealed)
