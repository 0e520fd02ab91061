"""Key pairs, and homes whose promotions are signed."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from taskclf_dagster.domain.decision.decision import PromotionDecision, seal, sign_decision
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.storage.home_id import ensure_home_id
from taskclf_dagster.domain.storage.signatures import Keys, load_keys
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, a_decision
from taskclf_dagster_tests.registry_scenario import promote, write_variant
from taskclf_dagster_tests.scenario import DAY


def key_pair() -> tuple[str, str]:
    """A new private key and its public key, in PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


OWNER, EARLIER, STRANGER = key_pair(), key_pair(), key_pair()


def keys_of(pair: tuple[str, str] = OWNER, *, trusted: tuple[tuple[str, str], ...] | None = None) -> Keys:
    """The keys of a process that signs with a pair, and trusts it unless others are given."""
    return load_keys([public for _, public in ((pair,) if trusted is None else trusted)], pair[0], origin="KEY")


KEYS = keys_of()


def signed(home: Home, model_id: str, keys: Keys = KEYS, **changes: object) -> PromotionDecision:
    """A challenger that was built and decided about, with a stored receipt that is signed."""
    if find_bundle(home, model_id) is None:
        write_variant(home.challengers / model_id)
    content = a_decision(home, model_id).model_copy(update={"home_id": ensure_home_id(home), **changes})
    decision = sign_decision(seal(content), keys)
    save_decision(home, decision)
    return decision


def signed_home(home: Home, *model_ids: str, keys: Keys = KEYS) -> Home:
    """A home where these models were promoted with signatures, one a day from AT on; the last of them runs."""
    for i, model_id in enumerate(model_ids):
        promote(home, signed(home, model_id, keys), at=AT + i * DAY, keys=keys)
    return home
