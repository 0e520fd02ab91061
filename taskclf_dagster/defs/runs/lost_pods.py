"""The end of a pod of Kubernetes in one sentence for a person, from the message of Dagster's run monitoring.

Dagster quotes the status of the pod and of its containers in that message. `domain.scheduling.failure_kinds` decides from the same message
whether the run is repeated. Add here the messages of another launcher.
"""

import re

_LOST = re.compile(r"Detected run worker status \w+: '(?P<found>[^']*)'")
_NOT_STARTED = re.compile(r"taking longer than (?P<seconds>\d+) seconds to start")
_POD = re.compile(r"^Pod status: \w+(?:: (?P<reason>.+))?$", re.MULTILINE)
_CONTAINER = re.compile(r"^Container '(?P<name>[^']*)' status: (?P<status>(?:Terminated|Waiting).*)$", re.MULTILINE)
_WARNINGS = re.compile(r"^Warning events for pod:\n(?P<first>.+)$", re.MULTILINE)


def describe_lost_pod(message: str) -> str | None:
    """Returns the end of the pod of a run, without a full stop; None if the message is not about a pod."""
    lost, late = _LOST.search(message), _NOT_STARTED.search(message)
    if lost is None and late is None:
        return None
    found = _find_details(message)
    if late is not None:
        return f"its pod did not start within {late['seconds']} seconds{found}" if found else None
    return f"its pod has ended before the run did{found}" if found else f"its pod was lost: {lost['found'] if lost else ''}"


def _find_details(message: str) -> str:
    """Returns reason of the pod, status of its containers and first warning, as far as they are quoted."""
    pod, container, warning = _POD.search(message), _CONTAINER.search(message), _WARNINGS.search(message)
    details = [
        pod["reason"] if pod is not None and pod["reason"] else "",
        f"container {container['name']}: {container['status']}" if container is not None else "",
        warning["first"] if warning is not None else "",
    ]
    known = [" ".join(detail.split()).rstrip(".") for detail in details if detail]
    return "".join(f"; {detail}" for detail in known)
