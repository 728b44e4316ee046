"""The commands that bench knows."""

import sys
from functools import wraps

import click

import frappe


def pass_context(fn):
    """Gives a command the sites and flags before its name."""

    @wraps(fn)
    @click.pass_context
    def command(ctx, *args, **kwargs):
        try:
            return fn(frappe._dict(ctx.obj), *args, **kwargs)
        except frappe.SiteNotSpecifiedError as e:
            click.secho(str(e), fg="yellow")
        except frappe.IncorrectSitePath as e:
            click.secho(f"Site {e}!", fg="yellow")
        sys.exit(1)

    return command


def get_site(context, site=None):
    """The one site of a command that works on one."""
    if site:
        return site
    if not context.sites:
        raise frappe.SiteNotSpecifiedError
    return context.sites[0]


def each_site(context, connect=True):
    """Makes one site after the other the one at hand."""
    if not context.sites:
        raise frappe.SiteNotSpecifiedError
    for site in context.sites:
        frappe.init(site, force=True)
        if connect:
            frappe.connect()
        try:
            yield site
        finally:
            frappe.destroy()


from frappe.commands import scheduler, site, utils  # noqa: E402 - they need the above

commands = [*site.commands, *scheduler.commands, *utils.commands]
