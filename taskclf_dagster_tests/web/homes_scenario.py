"""The real web server of many homes in this process, over generated homes and an instance whose queue nobody works off."""

from typing import Any

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.homes_webserver import HomesWebserver
from taskclf_dagster_tests.web.api_scenario import TOKEN, Server, Site


def show_homes(server: Server, directory: HomeDirectory, *, port: int = 3000, **rules: Any) -> Site:
    """The web server of these homes; its `home` is the first that can be used."""
    made = HomesWebserver(server.context, directory, AccessRules(**{"listens_at": port, "token": TOKEN, **rules}))
    return Site(next(iter(directory.list_usable().values())), server.instance, made.create_asgi_app())
