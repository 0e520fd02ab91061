"""Which names and pages a server counts as its own, and where it listens without a token."""

import pytest

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.errors import ServeError
from taskclf_dagster.web.access import AccessRules, is_loopback, is_own_host, is_own_origin, origin_of
from taskclf_dagster.web.rules import TOKEN_VARIABLE, read_access_rules

RULES = AccessRules(listens_at=3000)
TOKEN = "0123456789abcdef0123"  # noqa: S105  # of the test alone


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "LOCALHOST", "[::1]:3000", "127.0.0.1:8080", "localhost.:3000"])
def test_loopback_names_are_own_at_any_port_because_a_tunnel_has_another(host: str) -> None:
    assert is_own_host(host, RULES)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1.evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1:3000@evil.example",
        "127.0.0.1:3000/evil.example",
        "127.0.0.1 evil.example",
        "127.0.0.1:port",
        "[::1",
        "2130706433",
        "192.168.1.5:3000",
        "",
        "127.0.0.1\n",
        "localhost..",
    ],
)
def test_any_other_host_is_foreign(host: str) -> None:
    assert not is_own_host(host, RULES)


def test_a_server_on_every_address_is_reached_by_address_but_not_by_a_name_that_it_does_not_know() -> None:
    rules = AccessRules(listens_at=3000, any_literal=True)
    assert is_own_host("192.168.1.5:3000", rules)
    assert is_own_host("[fe80::1]:3000", rules)
    assert not is_own_host("evil.example:3000", rules)


@pytest.mark.parametrize(
    ("origin", "host", "is_encrypted", "own"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1:3000", False, True),
        ("http://localhost:3000", "127.0.0.1:3000", False, False),
        ("http://127.0.0.1:3001", "127.0.0.1:3000", False, False),
        ("http://127.0.0.1", "127.0.0.1:80", False, True),
        ("https://dagster.example.org", "dagster.example.org", True, True),
        ("https://dagster.example.org", "dagster.example.org:443", False, True),
        ("http://dagster.example.org", "dagster.example.org", True, False),
        ("https://dagster.example.org:444", "dagster.example.org", True, False),
        ("http://evil.example", "127.0.0.1:3000", False, False),
        ("http://127.0.0.1:3000.evil.example", "127.0.0.1:3000", False, False),
        ("http://user@127.0.0.1:3000", "127.0.0.1:3000", False, False),
        ("ftp://127.0.0.1:3000", "127.0.0.1:3000", False, False),
        ("null", "127.0.0.1:3000", False, False),
        ("http://[", "127.0.0.1:3000", False, False),
        ("", "127.0.0.1:3000", False, False),
        ("https://public.example", "127.0.0.1:3000", False, True),
    ],
)
def test_an_origin_is_own_if_it_is_that_of_the_host_or_of_the_proxy(origin: str, host: str, is_encrypted: bool, own: bool) -> None:
    rules = AccessRules(listens_at=3000, origins=frozenset({"https://public.example"}))
    assert is_own_origin(origin, host, rules, is_encrypted=is_encrypted) is own


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://dagster.example.org/x?y", "https://dagster.example.org"),
        ("https://Dagster.example.org:443", "https://dagster.example.org"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert read_access_rules(load_retrain_config(), {}, host=host, port=3000, read_only=False).token is None


ELSEWHERE = ["0.0.0.0", "::", "0::0", "", "0", "192.168.1.5", "machine.example.org", "localhost.example.org", "fe80::1"]  # noqa: S104


@pytest.mark.parametrize("host", ELSEWHERE)
def test_listening_elsewhere_without_a_token_is_refused_also_read_only(host: str) -> None:
    for read_only in (False, True):
        with pytest.raises(ServeError) as refused:
            read_access_rules(load_retrain_config(), {}, host=host, port=3000, read_only=read_only)
        assert refused.value.kind == "open"


def test_with_a_token_it_may_listen_anywhere() -> None:
    rules = read_access_rules(load_retrain_config(), {TOKEN_VARIABLE: TOKEN}, host="::", port=3000, read_only=False)
    assert (rules.token, rules.any_literal) == (TOKEN, True)
    named = read_access_rules(load_retrain_config(), {TOKEN_VARIABLE: TOKEN}, host="Machine.example.org", port=3000, read_only=False)
    assert is_own_host("machine.example.org:3000", named)
    assert not is_own_host("192.168.1.5:3000", named)


@pytest.mark.parametrize("token", ["brief", TOKEN[:-1], f"{TOKEN} ", f"{TOKEN}\n", f"{TOKEN}ä"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    with pytest.raises(ServeError) as refused:
        read_access_rules(load_retrain_config(), {TOKEN_VARIABLE: token}, host="127.0.0.1", port=3000, read_only=False)
    assert refused.value.kind == "token"
    assert token not in str(refused.value)
