from __future__ import annotations

import base64
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib import dsse as their_dsse
from securesystemslib import exceptions as their_exceptions
from securesystemslib.signer import CryptoSigner, SSlibKey

from pipeline.signing.attestation.dsse import Envelope, EnvelopeRefused, encode
from pipeline.signing.attestation.statement import Statement, StatementRefused, Subject
from pipeline.signing.keys.signer import SoftwareSigner
from pipeline.signing.trust.certificates import key_id
from pipeline.signing.trust.kinds import KeyKind

KINDS = [kind for kind in KeyKind if kind.can_be_generated and kind is not KeyKind.RSA4096]
SIGNERS: dict[KeyKind, SoftwareSigner] = {kind: SoftwareSigner(kind.generate(), "") for kind in KINDS}
P384 = SIGNERS[KeyKind.P384]
KEYS = {key_id(P384.public_key): P384.public_key}


def test_the_protocols_own_example() -> None:
    body = encode("http://example.com/HelloWorld", b"hello world")
    assert body == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.parametrize("kind", KINDS)
def test_securesystemslib_accepts_our_envelopes(kind: KeyKind) -> None:
    signer = SIGNERS[kind]
    identity = key_id(signer.public_key)
    made = Envelope.sign(b'{"a":1}', [signer])
    theirs = their_dsse.Envelope.from_dict(copy.deepcopy(made.as_data()))
    key = SSlibKey.from_crypto(signer.public_key, keyid=identity)
    assert set(theirs.verify([key], 1)) == {identity}
    assert theirs.pae() == encode(made.payload_type, made.payload)
    broken = their_dsse.Envelope.from_dict({**copy.deepcopy(made.as_data()), "payloadType": "x"})
    with pytest.raises(their_exceptions.VerificationError):
        broken.verify([key], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_we_accept_securesystemslibs_envelopes(kind: KeyKind) -> None:
    signer = SIGNERS[kind]
    theirs = their_dsse.Envelope(b"payload", "application/vnd.in-toto+json", {})
    theirs.sign(CryptoSigner(signer.key))
    ours = Envelope.parse(json.dumps(theirs.to_dict()))
    assert ours.verify({key_id(signer.public_key): signer.public_key}) == [key_id(signer.public_key)]


def test_thresholds_and_strangers() -> None:
    signers = [SIGNERS[KeyKind.P384], SIGNERS[KeyKind.ED25519]]
    keys = {key_id(each.public_key): each.public_key for each in signers}
    made = Envelope.parse(Envelope.sign(b"x", signers).dump())
    assert made.verify(keys, threshold=2) == sorted(keys)
    with pytest.raises(EnvelopeRefused, match="1 of 2"):
        made.verify(KEYS, threshold=2)
    stranger = SIGNERS[KeyKind.P256]
    with pytest.raises(EnvelopeRefused, match="0 of 1"):
        made.verify({key_id(stranger.public_key): stranger.public_key})
    with pytest.raises(EnvelopeRefused, match="holds application"):
        made.verify(keys, payload_type="text/plain")
    twice = Envelope(made.payload, made.payload_type, [made.signatures[0]] * 2)
    with pytest.raises(EnvelopeRefused):  # one key that signs twice is one key
        twice.verify(keys, threshold=2)


LINE = Envelope.sign(
    Statement([Subject("a", {"sha256": "ab" * 32})], "https://x", {"b": [1, "ü"]}).dump(), [P384]
).dump()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(LINE) - 1), st.characters(min_codepoint=32, max_codepoint=126))
def test_one_changed_character_is_noticed_or_means_nothing(at: int, other: str) -> None:
    changed = LINE[:at] + other + LINE[at + 1 :]
    try:
        envelope = Envelope.parse(changed)
        envelope.verify(KEYS)
    except EnvelopeRefused:
        return
    # What is left are changes of the unsigned hint, and of letters that JSON or base64 don't tell apart.
    assert (
        envelope.payload == Envelope.parse(LINE).payload and envelope.payload_type == Envelope.parse(LINE).payload_type
    )


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_rubbish_is_refused(text: bytes | str) -> None:
    with pytest.raises(EnvelopeRefused):
        Envelope.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["payload", "payloadType", "signatures", "sig", "keyid", "_type", "subject", "digest", "predicateType"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_json_of_other_shapes_is_refused(data: object) -> None:
    text = json.dumps(data)
    with pytest.raises(EnvelopeRefused):
        Envelope.parse(text).verify(KEYS)
    with pytest.raises(StatementRefused):
        Statement.parse(text.encode())


def test_url_safe_base64_is_read() -> None:
    data = json.loads(LINE)
    data["payload"] = base64.urlsafe_b64encode(base64.b64decode(data["payload"])).decode().rstrip("=")
    assert Envelope.parse(json.dumps(data)).verify(KEYS)


def test_statements_are_about_digests() -> None:
    statement = Statement([Subject("disk.qcow2", {"sha256": "ab" * 32, "md5": "cd" * 16})], "https://x/y", {"n": 1})
    again = Statement.parse(statement.dump())
    assert again == statement and again.dump() == statement.dump()
    assert again.subject({"sha256": "ab" * 32, "sha512": "ef" * 64}).name == "disk.qcow2"
    for other in (
        {"sha256": "ac" * 32},
        {"md5": "cd" * 16},
        {"sha512": "ab" * 64},
        {},
        {"sha256": "ab" * 32, "md5": "ce" * 16},
    ):
        with pytest.raises(StatementRefused, match="other files"):
            again.subject(other)
    for bad in (
        b"{}",
        b"[]",
        b"x",
        statement.dump().replace(b"ab" * 32, b"AB" * 32),
        statement.dump().replace(b"/v1", b"/v2"),
    ):
        with pytest.raises(StatementRefused):
            Statement.parse(bad)
