import sys

import click

import frappe
from frappe.commands import each_site, get_site, pass_context
from frappe.utils import get_sites

SITE = click.option("--site", help="site name")


@click.command("enable-scheduler")
@pass_context
def enable_scheduler(context):
    "Enable scheduler"
    from frappe.utils.scheduler import toggle_scheduler

    for site in each_site(context):
        toggle_scheduler(True)
        print("Enabled for", site)


@click.command("disable-scheduler")
@pass_context
def disable_scheduler(context):
    "Disable scheduler"
    from frappe.utils.scheduler import toggle_scheduler

    for site in each_site(context):
        toggle_scheduler(False)
        print("Disabled for", site)


@click.command("scheduler")
@SITE
@click.argument("state", type=click.Choice(["pause", "resume", "disable", "enable", "status"]))
@click.option("--format", "-f", default="text", type=click.Choice(["json", "text"]))
@click.option("--verbose", "-v", is_flag=True)
@pass_context
def scheduler(context, site, state, format, verbose):
    "Control scheduler state."
    from frappe.installer import update_site_config
    from frappe.utils.scheduler import is_scheduler_inactive, toggle_scheduler

    site = get_site(context, site)
    frappe.init(site)
    status = f"{state}d"
    if state in ("pause", "resume"):
        update_site_config("pause_scheduler", state == "pause")
    else:
        frappe.connect()
        if state == "status":
            status = "disabled" if is_scheduler_inactive() else "enabled"
        else:
            toggle_scheduler(state == "enable")
    as_json = '{{"status": "{}", "site": "{}"}}'
    print((as_json if format == "json" else "Scheduler is {} for site {}").format(status, site))


@click.command("set-maintenance-mode")
@SITE
@click.argument("state", type=click.Choice(["on", "off"]))
@pass_context
def set_maintenance_mode(context, site, state):
    "Put the site in maintenance mode for upgrades. Of several sites only the first."
    from frappe.installer import update_site_config

    frappe.init(get_site(context, site))
    update_site_config("maintenance_mode", int(state == "on"))


@click.command("ready-for-migration")
@SITE
@pass_context
def ready_for_migration(context, site):
    "Say whether jobs wait; jobs being done do not count."
    from frappe.utils.background_jobs import queued_job_ids

    site = get_site(context, site)
    frappe.init(site)
    if any(queued_job_ids(site).values()):
        print(f"NOT READY for migration: site {site} has pending background jobs")
        sys.exit(1)
    print(f"READY for migration: site {site} does not have any background jobs")


@click.command("doctor")
@SITE
@pass_context
def doctor(context, site):
    "Get diagnostic info about background workers"
    from rq import Worker

    from frappe.utils.background_jobs import get_redis_conn, queued_job_ids
    from frappe.utils.scheduler import is_scheduler_disabled, is_scheduler_inactive

    chosen = [site] if site else context.sites or get_sites()
    workers = len(Worker.all(get_redis_conn()))
    print("-----Checking scheduler status-----")
    for each in each_site(frappe._dict(sites=chosen)):
        for text, true in {
            "Scheduler disabled for": is_scheduler_disabled(),
            "Maintenance mode on for": frappe.conf.maintenance_mode,
            "Scheduler paused for": frappe.conf.pause_scheduler,
            "Scheduler inactive for": is_scheduler_inactive(),
        }.items():
            if true:
                print(text, each)
    print("Workers online:", workers)
    for each in chosen:
        print(f"-----{each} Jobs-----")
        for name, jobs in queued_job_ids(each).items():
            if jobs:
                print("Queue:", name)
                print("Number of Jobs: ", len(jobs))


@click.command("schedule")
def schedule():
    "Start scheduler process which is responsible for enqueueing the scheduled job types."
    from frappe.utils.scheduler import start_scheduler

    start_scheduler()


@click.command("worker")
@click.option("--queue", help="Queues to consume from, with commas between them; all unless told")
@click.option("--quiet", is_flag=True)
@click.option("--burst", is_flag=True, help="End when nothing is queued")
def worker(queue, quiet, burst):
    "Start a background worker"
    from frappe.utils.background_jobs import start_worker

    start_worker(queue, quiet, burst)


commands = [
    enable_scheduler, disable_scheduler, scheduler, set_maintenance_mode, ready_for_migration,
    doctor, schedule, worker,
]
