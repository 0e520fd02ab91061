"""Settings of the server that `taskclf-dagster serve` starts: its address for people, and what a proxy in front of it sends."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from taskclf_dagster.config.setting_types import Settings

DEFAULT_URL = "http://127.0.0.1:3000"


MAX_HOSTS = 20


_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"


_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?")


_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")


_NOT_A_LOGIN = frozenset({"authorization", "cookie", "host", "origin", "referer", "connection", "content-length", "content-type"})


def _require_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  # raises ValueError for a wrong one
    except ValueError as error:
        msg = f"must be the address that people open, such as https://retrain.example.org: {error}"
        raise ValueError(msg) from None
    is_plain = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain or not value.isprintable() or " " in value:
        msg = "must be the address that people open, such as https://retrain.example.org, without user, password, ? and #"
        raise ValueError(msg)
    return value.rstrip("/")


def _require_host(value: str) -> str:
    host = value.lower()
    if not _HOST.fullmatch(host) or len(host) > 255:
        msg = "must be the name of a host as the header Host has it, such as retrain.example.org or retrain.example.org:8443, without *"
        raise ValueError(msg)
    return host


def _require_header(value: str) -> str:
    if not _HEADER.fullmatch(value) or value.lower() in _NOT_A_LOGIN:
        msg = "must be the name of a header that the proxy sets after a login, such as X-Forwarded-User"
        raise ValueError(msg)
    return value


class ServerSettings(Settings):
    """The server of pages and API.

    Attributes:
        url: address that people open, without / at its end; links in messages begin with it. None is DEFAULT_URL.
        allowed_hosts: values of the header Host that are accepted besides those of this machine, in small letters.
        user_header: header in which a proxy with a login names the person; None for no such proxy.
    """

    url: Annotated[str, Field(max_length=500), AfterValidator(_require_url)] | None
    allowed_hosts: Annotated[list[Annotated[str, AfterValidator(_require_host)]], Field(max_length=MAX_HOSTS)]
    user_header: Annotated[str, AfterValidator(_require_header)] | None

    @property
    def address(self) -> str:
        """The address that people open."""
        return self.url or DEFAULT_URL
