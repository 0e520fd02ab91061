"""The paths of a home on the web server: those of a server for one home, or those of one home of many."""

from dataclasses import dataclass
from urllib.parse import quote

PAGE, API = "/retrain", "/api/ml/retrain"
"""The page and the API of a server for one home; of one for many, the list of homes and what is about all of them."""

HOMES = "/homes/"
"""Stands between these and the name of one home of many."""


@dataclass(frozen=True)
class SitePaths:
    """The paths of one home.

    Attributes:
        page: its page.
        api: what its operations are below.
    """

    page: str = PAGE
    api: str = API

    @property
    def reports(self) -> str:
        """The path that the ids of decisions follow, for their reports."""
        return f"{self.page}/reports/"


def paths_of(name: str) -> SitePaths:
    """Returns where a home with a name is on a server for many."""
    quoted = quote(name, safe="")
    return SitePaths(f"{PAGE}{HOMES}{quoted}", f"{API}{HOMES}{quoted}")
