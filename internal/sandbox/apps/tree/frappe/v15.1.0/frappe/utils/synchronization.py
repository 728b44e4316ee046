"""Locks between processes."""

import os
from contextlib import contextmanager

from filelock import FileLock, Timeout

import frappe
from frappe.utils import get_bench_path


class LockTimeoutError(Exception):
    pass


@contextmanager
def filelock(name, timeout=30, is_global=False):
    """Holds a lock of the site, or of the bench, or gives up after timeout seconds."""
    folder = os.path.join(get_bench_path(), "config") if is_global else frappe.get_site_path("locks")
    path = os.path.abspath(os.path.join(folder, name + ".lock"))
    try:
        with FileLock(path, timeout=timeout):
            yield
    except Timeout as e:
        raise LockTimeoutError(
            f"Failed to aquire lock: {name}. Lock may be held by another process."
            f"<br>You can manually remove the lock if you think it's safe: {path}"
        ) from e
