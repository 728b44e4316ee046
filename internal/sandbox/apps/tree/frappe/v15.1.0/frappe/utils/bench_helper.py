"""What the bench command runs: python -m frappe.utils.bench_helper frappe …"""

import importlib
import json
import os

import click

import frappe
from frappe.utils import get_sites


def main():
    groups = {"frappe": frappe_group()}
    click.Group(commands=groups | {c.name: c for c in (get_frappe_commands, get_frappe_help)})(prog_name="bench")


def frappe_group():
    @click.group(name="frappe", commands=app_commands())
    @click.option("--site")
    @click.option("--profile", is_flag=True, default=False, help="Profile")
    @click.option("--verbose", is_flag=True, default=False, help="Verbose")
    @click.option("--force", is_flag=True, default=False, help="Force")
    @click.pass_context
    def group(ctx, site, profile, verbose, force):
        ctx.obj = {"sites": chosen_sites(site), "force": force, "verbose": verbose}
        ctx.info_name = ""

    return group


def chosen_sites(site):
    if site == "all":
        return get_sites()
    site = site or os.environ.get("FRAPPE_SITE") or frappe.get_conf().default_site
    return [site] if site else []


def app_commands():
    """The commands of all apps of the bench that have some."""
    commands = {}
    for app in frappe.get_all_apps():
        try:
            module = importlib.import_module(f"{app}.commands")
        except ModuleNotFoundError as e:
            if e.name != f"{app}.commands":
                raise
            continue
        commands |= {command.name: command for command in module.commands}
    return commands


@click.command("get-frappe-commands")
def get_frappe_commands():
    print(json.dumps(list(app_commands())))


@click.command("get-frappe-help")
def get_frappe_help():
    print(click.Context(frappe_group()).get_help())


if __name__ == "__main__":
    main()
