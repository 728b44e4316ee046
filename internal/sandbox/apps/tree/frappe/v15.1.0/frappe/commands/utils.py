import ast
import importlib
import json

import click

import frappe
from frappe.commands import each_site, pass_context


@click.command("version")
@click.option("-f", "--format", "output", type=click.Choice(["plain", "table", "json", "legacy"]), default="legacy")
def version(output):
    "Show the versions of all the installed apps."
    from frappe.utils.change_log import get_app_branch, get_app_commit

    frappe.init("")
    data = [
        {"commit": get_app_commit(app), "app": app, "branch": get_app_branch(app), "version": importlib.import_module(app).__version__}
        for app in sorted(frappe.get_all_apps())
    ]
    if output == "json":
        click.echo(json.dumps(data, indent=4))
        return
    line = "{app} {version}" if output == "legacy" else "{app} {version} {branch} ({commit})"
    for app in data:
        click.echo(line.format(**app))


@click.command("set-config")
@click.argument("key")
@click.argument("value")
@click.option("-g", "--global", "global_", is_flag=True, default=False, help="Set value in bench config")
@click.option("-p", "--parse", is_flag=True, default=False, help="Evaluate as Python Object")
@pass_context
def set_config(context, key, value, global_, parse):
    "Insert/Update a value in site_config.json"
    from frappe.installer import update_site_config

    value = ast.literal_eval(value) if parse else value
    if global_:
        update_site_config(key, value, "common_site_config.json")
        return
    for _ in each_site(context, connect=False):
        update_site_config(key, value)


@click.command("show-config")
@click.option("--format", "-f", type=click.Choice(["text", "json"]), default="text")
@pass_context
def show_config(context, format):
    "Print the configuration of the sites"
    configs = {site: dict(frappe.conf) for site in each_site(context, connect=False)}
    if format == "json":
        click.echo(json.dumps(configs, indent=1, sort_keys=True))
        return
    for site, config in configs.items():
        for key, value in config.items():
            click.echo(f"{site}\t{key}\t{value}")


@click.command("clear-cache")
@pass_context
def clear_cache(context):
    "Clear cache, doctype cache and defaults"
    for _ in each_site(context, connect=False):
        frappe.clear_cache()


@click.command("clear-website-cache")
@pass_context
def clear_website_cache(context):
    "Clear website cache"
    for _ in each_site(context, connect=False):
        frappe.cache.delete_keys("website")


@click.command("execute")
@click.argument("method")
@click.option("--args")
@click.option("--kwargs")
@pass_context
def execute(context, method, args, kwargs):
    "Execute a function"
    for _ in each_site(context):
        try:
            function = frappe.get_attr(method)
        except (ImportError, AttributeError):
            function = eval(method)  # frappe.db.count and the like, which no module holds
        result = function(*(ast.literal_eval(args) if args else ()), **(ast.literal_eval(kwargs) if kwargs else {}))
        frappe.db.commit()
        if result:
            print(json.dumps(result, default=str))


@click.command("build")
@click.option("--app", help="Build assets for app")
@click.option("--apps", help="Build assets for specific apps")
@click.option("--hard-link", is_flag=True, help="Copy the files instead of symlinking", envvar="FRAPPE_HARD_LINK_ASSETS")
@click.option("--production", is_flag=True)
@click.option("--verbose", is_flag=True)
@click.option("--force", is_flag=True)
def build(app, apps, hard_link, production, verbose, force):
    "Compile JS and CSS source files"
    from frappe.build import bundle

    frappe.init("")
    bundle("production" if production or not frappe.conf.developer_mode else "build", apps or app, hard_link)


commands = [version, set_config, show_config, clear_cache, clear_website_cache, execute, build]
