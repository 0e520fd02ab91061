"""The headers that every answer gets: what a browser may do with it."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders

OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The content policy of our pages: no inline script, no inline style, nothing of another site."""

DAGSTER_POLICY = (
    "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:;"
    " frame-src 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""The addition to the content policy of Dagster's pages, which has a nonce for their scripts and allows inline styles: nothing of another
site. A picture of another site in a description is not loaded, so nobody learns that the page was opened."""

OTHER_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
"""The content policy of what Dagster serves without one, such as its page for queries, which has one inline script."""

ALWAYS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_own_path(path: str) -> bool:
    """Returns True for a path of our page or API, where the stricter rules hold."""
    return path == "/retrain" or path.startswith(("/retrain/", "/api/ml/"))


def set_headers(headers: MutableHeaders, path: str) -> None:
    """Sets the security headers of an answer; a content policy and a rule for caches that a route has set stay."""
    for name, value in ALWAYS.items():
        headers[name] = value
    own = is_own_path(path)
    headers["X-Frame-Options"] = "DENY" if own else "SAMEORIGIN"
    headers.setdefault("Content-Security-Policy", OWN_POLICY if own else OTHER_POLICY)
    if own:
        headers.setdefault("Cache-Control", "no-store")
