"""Runs one benchmark in a process of its own, so that none leaves threads or memory to the next."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module

from benchmarks.measure import Line, Sizes


def run_alone(name: str, quick: bool) -> tuple[list[Line], float, str]:
    """The lines of one benchmark, the seconds it took, and what went wrong (empty: nothing)."""
    began = time.monotonic()
    lines: list[Line] = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            lines, problem = pool.submit(_run, name, quick).result()
        except BrokenProcessPool as error:
            problem = f"its process ended: {error}"
    return lines, round(time.monotonic() - began, 1), problem


def _run(name: str, quick: bool) -> tuple[list[Line], str]:
    try:
        return import_module(f"benchmarks.{name}").run(Sizes(quick)), ""
    except Exception:  # noqa: BLE001  the other benchmarks shall still run
        return [], traceback.format_exc()
