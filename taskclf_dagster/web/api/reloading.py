"""Loads schedules and sensors again after a change of the configuration, behind the answer: it takes as long as starting Dagster."""

import logging
import threading

from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.web.backend import Backend


class Reloader:
    """Loads the definitions in a thread of its own, one time after another; what is asked meanwhile is one more time.

    Args:
        backend: loads them.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, self._lock = backend, threading.Lock()
        self._is_loading = self._again = False

    def ask(self) -> None:
        """Has the definitions loaded with the configuration as it is now, and returns at once."""
        with self._lock:
            self._again = self._is_loading
            if self._is_loading:
                return
            self._is_loading = True
        threading.Thread(target=self._load, name="definitions", daemon=True).start()

    def _load(self) -> None:
        while True:
            try:
                self._backend.reload_definitions()
            except TaskclfDagsterError as error:  # the former ones stay in use
                logging.getLogger(__name__).warning("schedules keep their former times: %s", error)
            with self._lock:
                if not self._again:
                    self._is_loading = False
                    return
                self._again = False
