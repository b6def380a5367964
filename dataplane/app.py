"""The process around one index: lock, key, record, index, server, in that order, and back.

Exit status: 0 after SIGTERM or SIGINT, 78 where the configuration, the key or the record is wrong
and only a person can help, 1 where starting again may. The reason is one JSON line on stderr.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import gc
import json
import logging
import signal
import threading
import time
from pathlib import Path
from typing import IO, Any, Final

from dataplane.config import Config, ConfigError, load_config
from dataplane.hardening import harden
from dataplane.index import VectorIndex
from dataplane.keyclient import KeyRefused, open_index
from dataplane.record import Record
from dataplane.recordfile import RecordError
from dataplane.server import Server

log = logging.getLogger(__name__)

EX_CONFIG: Final = 78
LOCK_SECONDS: Final = 5.0
HEALTH_SECONDS: Final = 0.2


class JsonFormatter(logging.Formatter):
    """One JSON object a line. Messages hold no ids, vectors, metadata or keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class AlreadyRunning(Exception):
    """Another process has the record open."""


def lock_record(config: Config) -> IO[str]:
    """Hold the record for this process alone, for as long as the returned file is open.

    Raises:
        AlreadyRunning: another process still has it after a few seconds.
    """
    path = config.record.with_name(config.record.name + ".lock")
    handle = path.open("w", encoding="ascii")
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise AlreadyRunning(
                    f"{config.record} is in use by another index server; stop that one first"
                ) from None
            time.sleep(0.05)
        else:
            return handle


def settle_memory() -> None:
    """Give back what starting up has used, and spare the collector what is here to stay."""
    gc.collect()
    gc.freeze()
    ctypes.CDLL(None).malloc_trim(0)


def stop_on_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set. Call it before any other thread exists.

    A thread of its own waits for them: a handler runs only once the main thread does, and a signal
    that arrives just before that falls asleep would go unheard.
    """
    stopping = threading.Event()
    numbers = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def listen() -> None:
        signal.sigwait(numbers)
        stopping.set()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    return stopping


def serve(config: Config, stopping: threading.Event) -> None:
    """Serve until `stopping` is set.

    Raises:
        KeyRefused, RecordError, AlreadyRunning, RuntimeError, OSError: as the parts do.
    """
    with lock_record(config):
        key = open_index(config, stopping.is_set)
        if key is None:
            return
        record = Record(config.record, key, config)
        index = VectorIndex(config, record, key)
        try:
            server = Server(config, index)
            index.start()
            server.start()
            while not index.wait_ready(HEALTH_SECONDS) and not stopping.is_set():
                pass
            server.set_serving()
            settle_memory()
            log.info("serving deployment %s on %s", config.deployment_id, config.listen)
            stopping.wait()
            server.stop()
        finally:
            index.close()


def main() -> int:
    """Parse arguments, serve, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dataplane", description="Serves one index deployment."
    )
    parser.add_argument("--config", type=Path, required=True, help="the deployment's JSON file")
    arguments = parser.parse_args()
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    stopping = stop_on_signal()
    try:
        harden()
        serve(load_config(arguments.config), stopping)
    except (ConfigError, KeyRefused, RecordError) as error:
        log.critical("%s", error)
        return EX_CONFIG
    except (AlreadyRunning, RuntimeError, OSError) as error:
        log.critical("%s", error)
        return 1
    return 0
