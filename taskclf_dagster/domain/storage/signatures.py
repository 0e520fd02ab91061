"""Ed25519 signatures over the hashes of receipts and history records.

Where keys come from is decided in `defs.resources.signing_keys`; what a missing signature means, in `decision` and `registry`.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from taskclf_dagster.config.signing_settings import parse_public_key
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import SigningKeyError

Subject = Literal["receipt", "history record"]
"""A signature over one kind of hash is none over another kind."""


SignatureProblem = Literal["unsigned", "another_key", "altered"]
"""altered: the signature names a trusted key, but is not that of the content."""


class Signature(Record):
    """A signature.

    Attributes:
        key: names the public key: the first 16 hex digits of SHA-256 over its 32 bytes.
        value: the 64 bytes in base64.
    """

    key: str
    value: str


@dataclass(frozen=True)
class Keys:
    """The keys of a process.

    Attributes:
        trusted: public keys whose signatures count, by name; empty if signatures are not checked.
        private: the key that signs; None if nothing is signed. Never shown.
    """

    trusted: dict[str, Ed25519PublicKey] = field(default_factory=dict)
    private: Ed25519PrivateKey | None = field(default=None, repr=False)

    @property
    def required(self) -> bool:
        """True if what is not signed with a trusted key is refused."""
        return bool(self.trusted)

    def sign(self, subject: Subject, home_id: str, digest: str) -> Signature | None:
        """Signs a hash for one home; returns None without a private key."""
        if self.private is None:
            return None
        value = self.private.sign(_message(subject, home_id, digest))
        return Signature(key=name_key(self.private.public_key()), value=base64.b64encode(value).decode())

    def find_problem(self, signature: Signature | None, subject: Subject, home_id: str, digest: str) -> SignatureProblem | None:
        """Returns why a signature does not count; None if it does, or signatures are not checked."""
        if not self.required:
            return None
        if signature is None:
            return "unsigned"
        key = self.trusted.get(signature.key)
        if key is None:
            return "another_key"
        try:
            key.verify(base64.b64decode(signature.value, validate=True), _message(subject, home_id, digest))
        except (InvalidSignature, binascii.Error, ValueError):
            return "altered"
        return None


NO_KEYS = Keys()
"""Signs and checks nothing."""


def load_keys(public: Sequence[str], private: str | None, *, origin: str) -> Keys:
    """Returns the keys of PEM texts.

    Args:
        public: public keys whose signatures count.
        private: the private key, not encrypted; None to sign nothing.
        origin: the place of the private key, for messages.

    Raises:
        SigningKeyError: a text is no Ed25519 key, or the private key is that of no trusted public key.
    """
    trusted = {name_key(key): key for key in map(parse_public_key, public)}
    if private is None:
        return Keys(trusted)
    key = _parse_private_key(private, origin)
    if trusted and name_key(key.public_key()) not in trusted:
        fix = "Add its public key to signing.public_key (`openssl pkey -in KEY -pubout` prints it), or sign with another key"
        raise SigningKeyError("untrusted", f"the private key of {origin} belongs to no key in signing.public_key", fix)
    return Keys(trusted, key)


def name_key(key: Ed25519PublicKey) -> str:
    """Returns the name of a public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _parse_private_key(text: str, origin: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):  # not PEM, damaged, or encrypted; the reason might repeat a part of it
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        fix = "Make one with `openssl genpkey -algorithm ed25519`"
        raise SigningKeyError("not_a_key", f"{origin} holds no Ed25519 private key in PEM, without a password", fix) from None
    return key


def _message(subject: Subject, home_id: str, digest: str) -> bytes:
    return f"taskclf-dagster {subject} 1\n{home_id}\n{digest}".encode()
