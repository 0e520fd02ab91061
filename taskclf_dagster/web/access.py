"""Who may ask the server: the host names that it answers to, and the pages that may send requests. No HTTP here, only comparisons.

A page of another site reaches a server on loopback in two ways. It sends a request there, which its `Origin` or `Sec-Fetch-Site` header
gives away; or it makes a name of its own lead to 127.0.0.1 (DNS rebinding), which the `Host` header gives away.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?\Z")

_DEFAULT_PORTS = {"http": "80", "https": "443"}

MIN_TOKEN_CHARACTERS = 20


@dataclass(frozen=True)
class AccessRules:
    """The rules of one server.

    Attributes:
        listens_at: its port, which is part of the names of its cookies: two servers of one machine have others.
        hosts: names that a request may give as its host, without port, in small letters.
        any_literal: True if it listens on every address of the machine, so that any IP address may be given. A page that was reached by an
            address has that address as its origin, so no rebinding is possible.
        origins: origins that may send requests besides the server's own, such as https://dagster.example.org of a proxy.
        token: the token that every request needs; None for none, on loopback only.
        read_only: True if nothing may be changed.
        user_header: name of the header, in small letters, in which a proxy names the user; None for none.
    """

    listens_at: int
    hosts: frozenset[str] = LOOPBACK_NAMES
    any_literal: bool = False
    origins: frozenset[str] = frozenset()
    token: str | None = None
    read_only: bool = False
    user_header: str | None = None


def is_loopback(host: str) -> bool:
    """Returns True if a server that listens on this host is reached from its own machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_every_address(host: str) -> bool:
    """Returns True if a server that listens on this host is reached by every address of its machine, such as `::`."""
    try:
        return not host or ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def split_authority(text: str) -> tuple[str, str | None] | None:
    """Returns name and port of a Host header, the name in small letters and without brackets; None if it is malformed."""
    match = _AUTHORITY.match(text)
    return None if match is None else ((match["six"] or match["name"]).lower().removesuffix("."), match["port"])


def is_own_host(text: str, rules: AccessRules) -> bool:
    """Returns True if a Host header names this server. The port does not count: a tunnel may have another one."""
    found = split_authority(text)
    if found is None:
        return False
    return found[0] in rules.hosts or (rules.any_literal and _is_address(found[0]))


def is_own_origin(origin: str, host: str, rules: AccessRules, *, is_encrypted: bool) -> bool:
    """Returns True if a page of this server sent a request.

    Args:
        origin: the Origin header.
        host: the Host header, already found to be the server's own.
        rules: of the server.
        is_encrypted: True if the request came over TLS; a page that did not is another one then. A proxy may end TLS without saying so.
    """
    if origin in rules.origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in _DEFAULT_PORTS or (is_encrypted and parts.scheme != "https") or parts.path or parts.query:
        return False
    sender, own = split_authority(parts.netloc), split_authority(host)
    if sender is None or own is None:
        return False
    default = _DEFAULT_PORTS[parts.scheme]
    return (sender[0], sender[1] or default) == (own[0], own[1] or default)


def origin_of(url: str) -> str:
    """Returns the origin of a URL as browsers write it: without path, and without the default port."""
    parts = urlsplit(url)
    name, port = split_authority(parts.netloc) or ("", None)
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
