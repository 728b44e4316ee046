import json
import sys
import traceback

import click

import frappe
from frappe.commands import each_site, get_site, pass_context
from frappe.utils.synchronization import filelock

ROOT_USERNAME = click.option("--db-root-username", "--mariadb-root-username", help="Database root user")
ROOT_PASSWORD = click.option("--db-root-password", "--mariadb-root-password", help="Database root password")


@click.command("new-site")
@click.argument("site")
@click.option("--db-name")
@click.option("--db-password")
@click.option("--db-type", default="mariadb", type=click.Choice(["mariadb"]))
@click.option("--db-host")
@click.option("--db-port", type=int)
@ROOT_USERNAME
@ROOT_PASSWORD
@click.option("--no-mariadb-socket", is_flag=True, help="Let the site's user log in from any host")
@click.option("--mariadb-user-host-login-scope", help="Where the site's user may log in from (newer Frappe)")
@click.option("--admin-password")
@click.option("--verbose", is_flag=True)
@click.option("--force", is_flag=True)
@click.option("--source-sql", "--source_sql")
@click.option("--install-app", multiple=True)
@click.option("--set-default", is_flag=True)
def new_site(site, db_name, db_password, db_type, db_host, db_port, db_root_username, db_root_password, no_mariadb_socket,
             mariadb_user_host_login_scope, admin_password, verbose, force, source_sql, install_app, set_default):
    "Create a new site"
    from frappe.installer import new_site, update_site_config

    new_site(site, db_name, db_password, db_host, db_port, db_root_username, db_root_password, admin_password, install_app,
             source_sql, force, no_mariadb_socket or mariadb_user_host_login_scope == "%")
    if set_default:
        update_site_config("default_site", site, "common_site_config.json")


@click.command("restore")
@click.argument("sql-file-path")
@ROOT_USERNAME
@ROOT_PASSWORD
@click.option("--db-name")
@click.option("--admin-password")
@click.option("--install-app", multiple=True)
@click.option("--with-public-files")
@click.option("--with-private-files")
@click.option("--force", is_flag=True)
@click.option("--encryption-key")
@pass_context
def restore(context, sql_file_path, db_root_username, db_root_password, db_name, admin_password, install_app,
            with_public_files, with_private_files, force, encryption_key):
    "Restore site database from an sql file"
    from frappe.installer import restore

    site = get_site(context)
    frappe.init(site)
    with filelock("site_restore", timeout=1):
        restore(site, sql_file_path, db_root_username, db_root_password, admin_password, install_app,
                context.force or force, with_public_files, with_private_files)


@click.command("install-app")
@click.argument("apps", nargs=-1)
@click.option("--force", is_flag=True)
@pass_context
def install_app(context, apps, force):
    "Install a new app to site, supports multiple apps"
    from frappe.installer import install_app

    failed = False
    for _ in each_site(context):
        with filelock("install_app", timeout=1):
            for app in apps:
                try:
                    install_app(app, force=force)
                except Exception as e:
                    failed = True
                    print(f"An error occurred while installing {app}: {e}\n{traceback.format_exc()}")
    sys.exit(failed)


@click.command("list-apps")
@click.option("--format", "-f", type=click.Choice(["text", "json"]), default="text")
@pass_context
def list_apps(context, format):
    "List apps in site."
    found = {}
    for site in each_site(context):
        apps = frappe.db.get_all("Installed Application", ["app_name", "app_version", "git_branch"], order_by="idx")
        found[site] = [app["app_name"] for app in apps]
        if format == "text":
            widths = [max(len(app[field]) for app in apps) for field in ("app_name", "app_version")]
            click.secho(site if len(context.sites) > 1 else "", fg="green")
            for app in apps:
                print(f"{app['app_name']:{widths[0]}} {app['app_version']:{widths[1]}} {app['git_branch']}")
            print()
    if format == "json":
        click.echo(json.dumps(found, indent=1, sort_keys=True))


@click.command("migrate")
@click.option("--skip-failing", is_flag=True, help="Skip patches that fail to run")
@click.option("--skip-search-index", is_flag=True, help="Skip search indexing for web documents")
@pass_context
def migrate(context, skip_failing, skip_search_index):
    "Run patches, sync schema and rebuild files/translations"
    from frappe.migrate import migrate

    if not context.sites:
        raise frappe.SiteNotSpecifiedError
    for site in context.sites:
        click.secho(f"Migrating {site}", fg="green")
        try:
            migrate(site, skip_failing, skip_search_index)
        finally:
            print()


@click.command("use")
@click.argument("site")
def use(site):
    "Set a default site"
    from frappe.installer import update_site_config

    frappe.init(site)
    update_site_config("default_site", site, "common_site_config.json")
    print(f"Current Site set to {site}")


@click.command("backup")
@click.option("--with-files", is_flag=True, help="Take backup with files")
@click.option("--backup-path", help="Set path for saving all the files in this operation")
@click.option("--backup-path-db")
@click.option("--backup-path-files")
@click.option("--backup-path-private-files")
@click.option("--backup-path-conf")
@click.option("--ignore-backup-conf", is_flag=True)
@click.option("--verbose", is_flag=True)
@click.option("--compress", is_flag=True, help="Compress private and public files")
@pass_context
def backup(context, with_files, backup_path, backup_path_db, backup_path_files, backup_path_private_files,
           backup_path_conf, ignore_backup_conf, verbose, compress):
    "Backup"
    from frappe.utils.backups import Backup, delete_old_backups

    failed = False
    if not context.sites:
        raise frappe.SiteNotSpecifiedError
    for site in context.sites:
        try:
            frappe.init(site, force=True)
            frappe.connect()
            delete_old_backups()
            taken = Backup(backup_path, {"database": backup_path_db, "public": backup_path_files, "config": backup_path_conf,
                                         "private": backup_path_private_files}, compress)
            taken.take(with_files)
        except Exception:
            click.secho(f"Backup failed for Site {site}. Database or site_config.json may be corrupted", fg="red")
            if verbose or context.verbose:
                traceback.print_exc(file=sys.stdout)
            failed = True
            continue
        taken.print_summary()
        ending = " with files" if with_files else ""
        click.secho(f"Backup for Site {site} has been successfully completed{ending}", fg="green")
        frappe.destroy()
    sys.exit(failed)


commands = [new_site, restore, install_app, list_apps, migrate, use, backup]
