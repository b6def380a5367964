"""Whatever a response is changed into, it is refused, or it still says the same."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from sso.errors import SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection
from sso.saml.verify import in_response_to, verify
from tests import factories
from tests.sso import idp
from tests.sso.support import make_connection

REQUEST = "_0123456789abcdef"
MUTATIONS = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SIGNED = ("assertion", "response", "both")


@pytest.fixture
def connection(db: None) -> Connection:
    organization = factories.make_organization(factories.make_user("owner@x.example"), "X")
    made = make_connection(organization)
    idp.install(made)
    return made


@pytest.fixture
def originals(connection: Connection) -> dict[str, bytes]:
    """The same said by the same assertion, signed in every way."""
    root = idp.build(
        connection,
        REQUEST,
        email="mallory@x.example",
        groups=["staff"],
        display_name="Mallory",
        session_index="_s1",
    )
    by_part = {
        "assertion": idp.sign(idp.reparse(root)),
        "response": idp.sign(idp.reparse(root), "response"),
        "both": idp.sign(idp.sign(idp.reparse(root)), "response"),
    }
    return {part: etree.tostring(signed) for part, signed in by_part.items()}


def check(message: bytes, connection: Connection, original: VerifiedAssertion) -> bool:
    """Whether it was accepted; if so, it says what the original said."""
    raw = base64.b64encode(message).decode()
    try:
        in_response_to(raw)
        found = verify(raw, connection, REQUEST)
    except SignInRefused:
        return False
    assert found == original
    return True


@given(
    part=st.sampled_from(SIGNED),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.integers(0, 12),
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(
                    [b"<!---->", b"&amp;", b"<x/>", b'"', b"<", b"admin", b"\xc3\xa9", b"&#0;"]
                ),
            ),
        ),
        max_size=3,
    ),
    words=st.dictionaries(
        st.sampled_from(
            [b"mallory", b"Mallory", b"staff", b"_s1", b"emailAddress", b"ID=", b"Id="]
        ),
        st.sampled_from([b"admin", b"", b"mal<!---->lory", b"owners", b"_", b"id=", b"transient"]),
        min_size=1,
        max_size=2,
    ),
)
@MUTATIONS
def test_changed_bytes(
    part: str,
    edits: list[tuple[float, int, bytes]],
    words: dict[bytes, bytes],
    connection: Connection,
    originals: dict[str, bytes],
) -> None:
    message = originals[part]
    original = verify(idp.encode(message), connection, REQUEST)
    for old, new in words.items():
        message = message.replace(old, new)
    for where, cut, put in edits:
        at = int(where * len(message))
        message = message[:at] + put + message[at + cut :]
    check(message, connection, original)


@given(part=st.sampled_from(SIGNED), seed=st.integers(0, 2**32), count=st.integers(1, 3))
@MUTATIONS
def test_changed_trees(
    part: str, seed: int, count: int, connection: Connection, originals: dict[str, bytes]
) -> None:
    original = verify(idp.encode(originals[part]), connection, REQUEST)
    root = etree.fromstring(originals[part])
    chance = random.Random(seed)  # noqa: S311  no secret
    for _ in range(count):
        change_tree(root, chance)
    check(etree.tostring(root), connection, original)


def change_tree(root: etree._Element, chance: random.Random) -> None:
    """Move, copy, drop, rename or retell an element, or swap attributes."""
    every = list(root.iter())
    one, other = chance.choice(every), chance.choice(every)
    action = chance.randrange(8)
    parent = one.getparent()
    if action == 0 and parent is not None:
        parent.remove(one)
    elif action == 1:
        other.append(etree.fromstring(etree.tostring(one)))
    elif action == 2 and parent is not None and one not in set(other.iterancestors()):
        other.addprevious(one) if other.getparent() is not None and other is not one else None
    elif action == 3:
        one.text = chance.choice(["admin@x.example", "", "x" * 300, other.text])
    elif action == 4:
        one.tag = other.tag
    elif action == 5:
        names = sorted(set(one.keys()) | set(other.keys()))
        for name in names[:2]:
            one.set(name, other.get(name, "_evil"))
    elif action == 6 and one.keys():
        del one.attrib[chance.choice(one.keys())]
    else:
        one.append(etree.Comment("x"))


def test_untouched_responses_are_accepted(
    connection: Connection, originals: dict[str, bytes]
) -> None:
    original = verify(idp.encode(originals["both"]), connection, REQUEST)
    assert original.email == "mallory@x.example"
    for message in originals.values():
        assert check(message, connection, original)


@given(raw=st.one_of(st.text(max_size=200), st.binary(max_size=200).map(idp.encode)))
@MUTATIONS
def test_noise(raw: str, connection: Connection) -> None:
    for attempt in (lambda: in_response_to(raw), lambda: verify(raw, connection, REQUEST)):
        with pytest.raises(SignInRefused):
            attempt()
