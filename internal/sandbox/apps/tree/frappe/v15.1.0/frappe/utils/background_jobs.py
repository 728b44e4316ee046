"""Jobs in Redis, put there by the site and done by workers."""

import time
import uuid

import redis
from rq import Queue, Worker

import frappe
from frappe.utils import get_bench_id


def timeouts():
    """Seconds that a job may take, by queue: those that are always there, and the
    bench's own."""
    own = frappe.get_conf().get("workers") or {}
    return {"short": 300, "default": 300, "long": 1500, **{name: values.get("timeout", 300) for name, values in own.items()}}


def get_redis_conn():
    return redis.from_url(frappe.get_conf().redis_queue)


def get_queue(name):
    return Queue(f"{get_bench_id()}:{name}", connection=get_redis_conn())


def get_queue_list(names=None):
    for name in names or []:
        if name not in timeouts():
            raise SystemExit(f"Queue should be one of {', '.join(timeouts())}")
    return names or list(timeouts())


def enqueue(method, queue="default", job_id=None, deduplicate=False, **kwargs):
    """Queues a function for the site at hand and returns the job's id."""
    site = frappe.local.site
    job_id = f"{site}::{job_id or uuid.uuid4()}"
    queued = get_queue(queue)
    if deduplicate and job_id in queued.get_job_ids():
        return job_id
    queued.enqueue_call(
        "frappe.utils.background_jobs.execute_job",
        kwargs={"site": site, "method": method, "kwargs": kwargs},
        timeout=timeouts()[queue], result_ttl=600, failure_ttl=7 * 24 * 3600, job_id=job_id,
    )
    return job_id


def execute_job(site, method, kwargs):
    """Does a job; a worker calls it."""
    frappe.init(site, force=True)
    frappe.connect()
    try:
        result = frappe.get_attr(method)(**kwargs)
        frappe.db.commit()
        return result
    except Exception:
        frappe.db.rollback()
        raise
    finally:
        frappe.destroy()


def start_worker(queue=None, quiet=False, burst=False):
    """Does jobs until told to end; a job being done is finished first."""
    frappe.init("")
    names = [name.strip() for name in queue.split(",")] if queue else None
    queues = [get_queue(name) for name in get_queue_list(names)]
    Worker(queues, connection=get_redis_conn()).work(logging_level="WARNING" if quiet else "INFO", burst=burst)


def queued_job_ids(site):
    """The jobs of a site which wait, by queue. Those being done are not among them."""
    return {
        name: [job_id for job_id in get_queue(name).get_job_ids() if job_id.startswith(f"{site}::")]
        for name in timeouts()
    }


def build_index_for_all_routes():
    """What a migration queues at its end."""


def test_job(s):
    print("sleeping...")
    time.sleep(s)
