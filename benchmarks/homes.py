"""Prints what a deployment with many homes costs: CPU seconds of a tick of each sensor, memory and idle cost of its processes, queries.

Makes homes of one invented person each: one is generated, retrained, calibrated, scored and monitored; the others are copies of it. Nothing
is due in them, so what is measured is what a quiet day costs.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil

from taskclf_dagster.cli.instance_files import write_homes_instance_settings
from taskclf_dagster.config.shipped import find_shipped
from taskclf_dagster.defs.dagster_internals import HOMES_MODULE
from taskclf_dagster.defs.events.event_sensor import deliver_events
from taskclf_dagster.defs.homes.sensors import ROUND_SENSORS
from taskclf_dagster.defs.jobs.partition_forms import fill_form
from taskclf_dagster.defs.resources.inputs import ClockResource, RunSettingsResource
from taskclf_dagster.defs.resources.partition_home import HOMES, HomesResource
from taskclf_dagster.defs.runs.retrain_runs import CALIBRATE, MONITOR, RETRAIN, SCORE
from taskclf_dagster.demo.generator import generate_demo_home
from taskclf_dagster.home import Home
from taskclf_dagster.team_definitions import build_team_definitions

DAYS = 21
QUERIES = {
    "homes (partitions) and their state": """{ assetNodes(assetKeys: [{path: ["active_pointer"]}]) { partitionKeys
        assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions unmaterializedPartitions } } } }""",
    "assets and checks": "{ assetNodes { assetKey { path } assetChecksOrError { ... on AssetChecks { checks { name } } } } }",
    "newest 50 runs": "{ runsOrError(limit: 50) { ... on Runs { results { runId status tags { key value } } } } }",
    "sensors with their last tick": """{ sensorsOrError(repositorySelector: {repositoryName: "__repository__",
        repositoryLocationName: "taskclf_dagster"}) { ... on Sensors { results { name sensorState { ticks(limit: 1) { status } } } } } }""",
}


def make_homes(folder: Path, number: int) -> Path:
    """Writes the homes and the homes file, unless they are there; returns the file."""
    homes_file, team = folder / "homes.yaml", folder / "team"
    homes_file.write_text(f"folder: {team}\n", encoding="utf-8")
    first = Home(team / "home0000")
    if not first.root.exists():
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
        generate_demo_home(first.root, end=yesterday, users=1, days=DAYS, seed=7)
        run_jobs(folder, first, homes_file)
    for position in range(1, number):
        root = team / f"home{position:04d}"
        if not root.exists():
            shutil.copytree(first.root, root, copy_function=_link)
    return homes_file


def _link(source: str, target: str) -> None:
    """Copies a file that is changed in place or appended to; what never changes gets a second name."""
    if source.endswith((".json", ".jsonl", ".lock", ".yaml")):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def run_jobs(folder: Path, home: Home, homes_file: Path) -> None:
    """Runs the jobs of a home as runs of its partition, so that it has a model and a history, and nothing is due."""
    with open_instance(folder / "first") as instance:
        instance.add_dynamic_partitions(HOMES, [home.root.name])
        definitions, settings = build_team_definitions(homes_file=str(homes_file)), str(find_shipped("configs/demo.yaml"))
        for job in (RETRAIN, CALIBRATE, SCORE, MONITOR):
            form = fill_form(job, {} if job == SCORE else {"config_path": settings})
            definitions.resolve_job_def(job).execute_in_process(instance=instance, partition_key=home.root.name, run_config=form)
        log, now = logging.getLogger("homes"), datetime.now(UTC)
        deliver_events(instance, home, RunSettingsResource(), cursor=None, now=now, log=log)


@contextmanager
def open_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    folder.mkdir(exist_ok=True)
    write_homes_instance_settings(folder)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def measure_ticks(folder: Path, homes_file: Path, number: int, rounds: int) -> None:
    """Prints the CPU seconds in which each sensor goes round all homes: the first time, and the least of later ones."""
    definitions = build_team_definitions(homes_file=str(homes_file))
    resources = {"homes": HomesResource(homes_file=str(homes_file)), "run_settings": RunSettingsResource(), "clock": ClockResource()}
    with open_instance(folder / "ticks") as instance:
        repository, total = definitions.get_repository_def(), 0.0
        print(f"{'sensor':<22}{'every s':>8}{'first':>9}{'later':>9}{'per hour':>10}{'cursor KiB':>12}")
        for name, every in [(HOMES, 30), *((sensor.name, sensor.seconds) for sensor in ROUND_SENSORS)]:
            needed = {key: value for key, value in resources.items() if key == "homes" or name != HOMES}
            cursor, costs, said = None, [], ""
            for _ in range(1 + rounds):
                looked, spent = 0, 0.0
                while looked < number:  # a busy machine may need more than one tick for a round
                    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=needed, repository_def=repository)
                    begin = time.process_time()
                    tick = definitions.resolve_sensor_def(name).evaluate_tick(context)
                    spent += time.process_time() - begin
                    cursor, said = tick.cursor or cursor, tick.skip_message or ""
                    looked += int(said.split()[0])
                    for request in tick.dynamic_partitions_requests or []:
                        instance.add_dynamic_partitions(HOMES, list(request.partition_keys))
                costs.append(spent)
            hourly = min(costs[1:]) * 3600 / every
            total += hourly
            size = len(cursor or "") / 1024
            print(f"{name:<22}{every:>8}{costs[0]:>9.2f}{min(costs[1:]):>9.2f}{hourly:>10.1f}{size:>12.1f}   {said[:60]}", flush=True)
        share, used = 100 * total / 3600, memory(os.getpid())
        print(f"all ticks: {total:.0f} CPU seconds an hour, {share:.1f} % of a core; this process: {used:.0f} MiB", flush=True)


def memory(process: int) -> float:
    """Returns the memory [MiB] of a process and its children, shared pages counted in shares."""
    found = 0.0
    for each in [psutil.Process(process), *psutil.Process(process).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found += each.memory_full_info().pss / 2**20
    return found


def cpu(process: int) -> float:
    """Returns the CPU seconds of a process and its children."""
    found = 0.0
    for each in [psutil.Process(process), *psutil.Process(process).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            found += times.user + times.system + times.children_user + times.children_system
    return found


def measure_processes(folder: Path, homes_file: Path, seconds: int) -> None:
    """Prints memory and CPU of code server, daemon and web server while they run for some minutes, and the time of queries."""
    served = folder / "served"
    with open_instance(served) as instance:
        instance.get_runs_count()
    environment = {**os.environ, "DAGSTER_HOME": str(served), "TASKCLF_DAGSTER_HOMES": str(homes_file)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homes-")))
        workspace, programs = sockets / "workspace.yaml", Path(sys.executable).parent
        workspace.write_text(f"load_from: [{{grpc_server: {{socket: {sockets}/code.sock, location_name: taskclf_dagster}}}}]\n")
        code = [programs / "dagster", "code-server", "start", "--socket", f"{sockets}/code.sock", "-m", HOMES_MODULE]
        members = {"code server": start(stack, folder, [*code, "--location-name", "taskclf_dagster"], environment)}
        wait_for(lambda: (sockets / "code.sock").exists())
        members["daemon"] = start(stack, folder, [programs / "dagster-daemon", "run", "-w", workspace], environment)
        members["web server"] = start(stack, folder, [programs / "dagster-webserver", "-w", workspace, "-p", str(port)], environment)
        wait_for(lambda: ask(port, "{ version }") is not None)
        time.sleep(60)  # each sensor has had its first tick
        begin = {name: cpu(process.pid) for name, process in members.items()}
        time.sleep(seconds)
        for name, process in members.items():
            used = (cpu(process.pid) - begin[name]) * 3600 / seconds
            print(f"{name:<14}{memory(process.pid):>8.0f} MiB{used:>8.0f} CPU seconds an hour ({used / 36:.1f} % of a core)")
        for name, query in QUERIES.items():
            times = [timed(port, query) for _ in range(5)]
            print(f"GraphQL, {name}: {1000 * min(times):.0f} ms")


def start(stack: ExitStack, folder: Path, command: list[str | Path], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    log = stack.enter_context((folder / "served.log").open("ab"))
    process = subprocess.Popen(  # noqa: S603
        list(map(str, command)), env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
    )
    stack.callback(process.wait)
    stack.callback(os.killpg, process.pid, signal.SIGINT)
    return process


def wait_for(ready: object) -> None:
    deadline = time.monotonic() + 180
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            sys.exit("a server did not begin its work within three minutes; see served.log")
        time.sleep(0.5)


def ask(port: int, query: str) -> object:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found = json.load(answer)
    except OSError:
        return None
    if "errors" in found:
        sys.exit(f"{query}: {found['errors']}")
    return found["data"]


def timed(port: int, query: str) -> float:
    begin = time.perf_counter()
    ask(port, query)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--homes", type=int, default=200, help="number of homes (default: 200)")
    parser.add_argument("--rounds", type=int, default=3, help="ticks after the first one (default: 3)")
    parser.add_argument("--seconds", type=int, default=300, help="how long the processes are watched; 0: not at all (default: 300)")
    parser.add_argument("--keep", type=Path, help="folder for homes and instances, which stay there")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homes-")))
        folder.mkdir(exist_ok=True, parents=True)
        begin = time.process_time()
        homes_file = make_homes(folder.absolute(), options.homes)
        print(f"{options.homes} homes of {DAYS} days, made in {time.process_time() - begin:.0f} CPU seconds", flush=True)
        measure_ticks(folder.absolute(), homes_file, options.homes, options.rounds)
        if options.seconds:
            measure_processes(folder.absolute(), homes_file, options.seconds)


if __name__ == "__main__":
    main()
