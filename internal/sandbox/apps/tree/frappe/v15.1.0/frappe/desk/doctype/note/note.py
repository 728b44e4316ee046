"""A note, which may also be written by a worker."""

import time

import frappe


@frappe.whitelist
def write_later(title, queue="default", seconds=0):
    """Queues the writing of a note, which takes some seconds; returns the job's id."""
    return frappe.enqueue("frappe.desk.doctype.note.note.write", queue=queue, title=title, seconds=float(seconds))


@frappe.whitelist
def write_slowly(title, seconds):
    """Writes a note within the request, which takes some seconds."""
    time.sleep(float(seconds))
    return frappe.db.insert("Note", title=title, content="written slowly")


def write(title, seconds=0):
    if seconds:
        print("sleeping...", flush=True)
        time.sleep(seconds)
    return frappe.db.insert("Note", title=title, content="written by a worker")
