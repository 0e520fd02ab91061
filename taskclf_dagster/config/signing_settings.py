"""Settings of signed promotions: the place of the private key, and the public keys whose signatures count.

A private key that is written here by mistake is refused and never printed, so no message may repeat a value. Signing is in
`domain.storage.signatures`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator, model_validator

from taskclf_dagster.config.event_settings import EnvironmentName

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def parse_public_key(text: str) -> "Ed25519PublicKey":
    """Returns the Ed25519 public key of a PEM text.

    Raises:
        ValueError: it is none; the message does not repeat the text.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # only who signs pays for these imports
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        msg = "must be an Ed25519 public key in PEM, as `openssl pkey -in KEY -pubout` prints it"
        raise ValueError(msg) from None  # noqa: TRY004  # of a value, for pydantic
    return key


def _require_public_key(text: str) -> str:
    parse_public_key(text)
    return text


def _require_path(text: str) -> str:
    if "\n" in text or not Path(text).expanduser().is_absolute():
        msg = "must be the absolute path of a file outside the home, and not the key itself"
        raise ValueError(msg)
    return text


PublicKey = Annotated[str, AfterValidator(_require_public_key)]


class SigningSettings(BaseModel):
    """Keys of signed promotions; without any nothing is signed, and no signature is checked.

    Attributes:
        private_key_env: environment variable with the private key in PEM.
        private_key_file: file with the private key in PEM, outside the home.
        public_key: one public key in PEM, or a list: the present one and earlier ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    private_key_env: EnvironmentName | None
    private_key_file: Annotated[str, AfterValidator(_require_path)] | None
    public_key: list[PublicKey]

    @field_validator("public_key", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return [] if value is None else [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _require_one_private_key(self) -> Self:
        if self.private_key_env is not None and self.private_key_file is not None:
            msg = "give private_key_env or private_key_file, not both"
            raise ValueError(msg)
        return self
