"""The rules of a server from its settings, its options and the environment."""

from collections.abc import Mapping

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.errors import ServeError
from taskclf_dagster.web.access import (
    LOOPBACK_NAMES,
    MIN_TOKEN_CHARACTERS,
    AccessRules,
    is_every_address,
    is_loopback,
    origin_of,
    split_authority,
)

TOKEN_VARIABLE = "TASKCLF_DAGSTER_TOKEN"  # noqa: S105  # the name of the variable


def read_access_rules(config: RetrainConfig, environ: Mapping[str, str], *, host: str, port: int, read_only: bool) -> AccessRules:
    """Returns the rules of a server that listens on a host and a port.

    Raises:
        ServeError: it would be reached from other machines without a token, or the token is short.
    """
    token = environ.get(TOKEN_VARIABLE) or None
    if token is not None and (len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token):
        reason = f"{TOKEN_VARIABLE} is shorter than {MIN_TOKEN_CHARACTERS} characters, or has others than letters, digits and signs"
        raise ServeError("token", reason, "Make one with `openssl rand -hex 24`")
    if token is None and not is_loopback(host):
        reason = f"whoever reaches {host or 'this machine'} could change everything, because {TOKEN_VARIABLE} is not set"
        raise ServeError("open", reason, f"Set {TOKEN_VARIABLE} (`openssl rand -hex 24` makes one), or listen on 127.0.0.1")
    server = config.server
    origin = None if server.url is None else origin_of(server.url)
    given = [] if is_every_address(host) else [f"[{host.strip('[]')}]" if ":" in host else host]
    given += [*server.allowed_hosts, *([] if origin is None else [origin.partition("://")[2]])]
    names = {found[0] for found in map(split_authority, given) if found is not None}
    return AccessRules(
        listens_at=port,
        hosts=LOOPBACK_NAMES | names,
        any_literal=is_every_address(host),
        origins=frozenset() if origin is None else frozenset({origin}),
        token=token,
        read_only=read_only,
        user_header=None if server.user_header is None else server.user_header.lower(),
    )
