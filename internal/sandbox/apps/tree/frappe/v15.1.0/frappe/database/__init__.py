"""The connection to a site's MariaDB."""

import os
import re
import subprocess
import uuid
from shutil import which

import pymysql

import frappe
from frappe.utils import now

CHANGES = re.compile(
    r"\s*(?:update|insert into|replace into|delete from|alter table|create table|truncate table)\s+(?:`([^`]+)`|(\w+))", re.I
)


class Database:
    def __init__(self, user, password, database=None):
        self.cur_db_name = database
        self.touched_tables = set()
        self.connection = pymysql.connect(
            host=frappe.conf.db_host, port=int(frappe.conf.db_port), user=user,
            password=password, database=database, charset="utf8mb4",
        )

    def sql(self, query, values=None, as_dict=False):
        if change := CHANGES.match(query):
            self.touched_tables.add(change.group(1) or change.group(2))
        kind = pymysql.cursors.DictCursor if as_dict else pymysql.cursors.Cursor
        with self.connection.cursor(kind) as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    def begin(self):
        self.connection.begin()

    def commit(self):
        self.connection.commit()

    def rollback(self):
        self.connection.rollback()

    def close(self):
        if self.connection.open:
            self.connection.close()

    def get_tables(self):
        return [row[0] for row in self.sql("show tables")]

    def get_columns(self, doctype):
        return [row[0] for row in self.sql(f"show columns from `tab{doctype}`")]

    def get_all(self, doctype, fields=("name",), filters=None, order_by="creation, name", limit=None):
        columns = ", ".join("*" if f == "*" else f"`{f}`" for f in fields)
        where, values = self._where(filters)
        limit = f" limit {int(limit)}" if limit else ""
        return self.sql(f"select {columns} from `tab{doctype}`{where} order by {order_by}{limit}", values, as_dict=True)

    def get_value(self, doctype, filters, field="name"):
        filters = filters if isinstance(filters, dict) else {"name": filters}
        rows = self.get_all(doctype, [field], filters, order_by="name", limit=1)
        return rows[0][field] if rows else None

    def count(self, doctype, filters=None):
        where, values = self._where(filters)
        return self.sql(f"select count(*) from `tab{doctype}`{where}", values)[0][0]

    def insert(self, doctype, **values):
        """Inserts a row and returns its name."""
        row = {"name": uuid.uuid4().hex[:10], "owner": "Administrator", "creation": now(), "modified": now()} | values
        columns = ", ".join(f"`{column}`" for column in row)
        marks = ", ".join(["%s"] * len(row))
        self.sql(f"insert into `tab{doctype}` ({columns}) values ({marks})", list(row.values()))
        return row["name"]

    def set_value(self, doctype, filters, field, value):
        where, values = self._where(filters if isinstance(filters, dict) else {"name": filters})
        self.sql(f"update `tab{doctype}` set `{field}`=%s{where}", [value, *values])

    def get_single_value(self, doctype, field):
        rows = self.sql("select value from tabSingles where doctype=%s and field=%s", (doctype, field))
        return rows[0][0] if rows else None

    def set_single_value(self, doctype, field, value):
        self.sql("delete from tabSingles where doctype=%s and field=%s", (doctype, field))
        self.sql("insert into tabSingles (doctype, field, value) values (%s, %s, %s)", (doctype, field, value))

    def get_global(self, key):
        rows = self.sql("select defvalue from tabDefaultValue where parent='__global' and defkey=%s", (key,))
        return rows[0][0] if rows else None

    def set_global(self, key, value):
        self.sql("delete from tabDefaultValue where parent='__global' and defkey=%s", (key,))
        self.insert("DefaultValue", parent="__global", defkey=key, defvalue=value)

    @staticmethod
    def _where(filters):
        clause = " and ".join(f"`{key}`=%s" for key in filters or {})
        return (f" where {clause}" if clause else ""), list((filters or {}).values())


def setup_database(root_login, root_password, any_host, source_sql):
    """Makes the user and database of the site at hand anew and fills it."""
    root = Database(root_login, root_password)
    name, password = frappe.conf.db_name, frappe.conf.db_password
    # Without any_host the user may log in only from where this runs.
    host = "%" if any_host else root.sql("select user()")[0][0].split("@")[1]
    root.sql("drop user if exists %s@%s", (name, host))
    root.sql(f"drop database if exists `{name}`")
    root.sql("create user %s@%s identified by %s", (name, host, password))
    root.sql(f"create database `{name}`")
    root.sql(f"grant all privileges on `{name}`.* to %s@%s", (name, host))
    root.close()

    frappe.connect()
    settings = dict(frappe.db.sql("show variables"))
    wanted = {"character_set_server": "utf8mb4", "collation_server": "utf8mb4_unicode_ci"}
    if wrong := [key for key, value in wanted.items() if settings.get(key) != value]:
        for key in wrong:
            print(f"For key {key}. Expected value {wanted[key]}, found value {settings.get(key)}")
        print(f"Creation of your site - {frappe.local.site} failed because MariaDB is not properly configured.")
        raise SystemExit(1)
    restore_database(source_sql or os.path.join(os.path.dirname(__file__), "mariadb", "framework_mariadb.sql"))
    if "tabDefaultValue" not in frappe.db.get_tables():
        print("Table 'tabDefaultValue' missing in the restored site.")
        raise SystemExit(1)


def restore_database(path):
    """Feeds a dump to the client. As in Frappe, only its outcome is looked at."""
    conf = frappe.conf
    with open(path) as dump:
        subprocess.run(
            [which("mariadb") or "mysql", "-u", conf.db_name, "-h", conf.db_host, "-P", str(conf.db_port), conf.db_name],
            stdin=dump, env=os.environ | {"MYSQL_PWD": conf.db_password},
        )
    frappe.clear_cache()
