"""The databases of sites: what is in them, their dumps, and how those are put
back. It stands in front of site.py, which calls it.

A dump is loaded beside the live tables, under other names, and counted; only
then do the two change places, in one statement. So nothing is dropped before
its replacement is whole, and a disk that is full, a dump that can't be read or
a definer that may not be named leaves the site as it was.
"""

import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time

# What a table is called while it is loaded, and one that was replaced before it
# is dropped. A dump has neither.
LOADING, REPLACED = "__loading_", "__replaced_"

# The most that a server takes in one statement, of which the clients here send
# as much.
LONGEST = 1 << 30

# Where a site has the files that visitors upload. Each may be a link to another
# disk, or a volume of its own.
FOLDERS = ("public/files", "private/files")

# What may have the name of a table.
ANYTHING = "'BASE TABLE', 'SEQUENCE', 'VIEW'"


def read(path):
    with open(path) as file:
        return json.load(file)


def config(site):
    values = read("common_site_config.json") if os.path.exists("common_site_config.json") else {}
    return values | read(f"{site}/site_config.json")


def unescaped(field):
    """What the client's batch mode has written so that it stays in its line."""
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t", "0": "\0"}.get(found[1], found[1]), field)


def complaint(said):
    """What the client says is wrong, and nothing of the statement that it shows with
    it: that may be the rows of a table with passwords."""
    lines = [line for line in said.splitlines() if re.match(r"ERROR( \d+| at line)|(/\S*/)?(mariadb|mysql)[a-z-]*: ", line)]
    return "\n".join(re.sub(r"(near|entry|value:) '.*", r"\1 …", line) for line in lines) or "it ended without a word"


class Refused(SystemExit):
    """The database server answers, and does not let the site in."""


class Account:
    """Someone at the database server of a site: the site's own user, or its
    administrator where the steps were given the password of one."""

    def __init__(self, site, user=None, password=None):
        values = config(site)
        self.site, self.name = site, values["db_name"]
        self.user = user or values.get("db_user") or self.name
        # In no argument list.
        self.environment = os.environ | {"MYSQL_PWD": password if user else values["db_password"]}
        self.options = ["--user", self.user, "--default-character-set=utf8mb4"]
        if values.get("db_socket"):
            self.options += ["--socket", values["db_socket"]]
        else:
            self.options += ["--host", values.get("db_host") or "localhost", "--port", str(values.get("db_port") or 3306)]
        # As Frappe connects: with a certificate where it is given one, and
        # without a word on it where not. Newer clients want one by themselves.
        if values.get("db_ssl_ca"):
            self.options += ["--ssl-ca", values["db_ssl_ca"]]
            for key, option in (("db_ssl_cert", "--ssl-cert"), ("db_ssl_key", "--ssl-key")):
                if values.get(key):
                    self.options += [option, values[key]]
        else:
            self.options += ["--skip-ssl-verify-server-cert"]

    def command(self, *names):
        """The command line of a program that goes by one of these names."""
        program = next(filter(None, map(shutil.which, names)), None)
        if not program:
            raise SystemExit(f"{names[0]} is not in the image")
        return [program, *self.options]

    def loader(self):
        """The command that takes statements of a dump as they are: with the comments
        in routines too, which the client would leave out."""
        return [*self.command("mariadb", "mysql"), "--binary-mode", "--comments", f"--max-allowed-packet={LONGEST}", self.name]

    def query(self, sql, patience=120):
        """Rows of an answer. A server that starts is waited for."""
        give_up = time.monotonic() + patience
        while True:
            done = subprocess.run([*self.command("mariadb", "mysql"), "--batch", "--skip-column-names", "--execute", sql],
                                  env=self.environment, capture_output=True, text=True)
            if done.returncode == 0:
                return [[unescaped(field) for field in line.split("\t")] for line in done.stdout.split("\n")[:-1]]
            said = complaint(done.stderr)
            # 1044, 1045, 1698: access denied; 1049: no such database.
            if re.search(r"ERROR (1044|1045|1049|1698)\b", said):
                raise Refused(f"{self.site}: {said}")
            # 2002, 2003, 2013: no server answers.
            if time.monotonic() > give_up or not re.search(r"ERROR (2002|2003|2013)\b", said):
                raise SystemExit(f"{self.site}: {said}")
            time.sleep(0.5)

    def value(self, sql):
        return (self.query(sql) or [[""]])[0][0]

    def may_name_definers(self):
        """Whether it may make a view, trigger, routine or event that runs with the
        rights of another user."""
        return self.value("select count(*) from information_schema.user_privileges where privilege_type in ('SUPER', 'SET USER', 'SET_USER_ID', 'SET_ANY_DEFINER') "
                          "and grantee = concat(\"'\", replace(current_user(), '@', \"'@'\"), \"'\")") != "0"


def administrator(site):
    """The account of the server's administrator, or None: of a server that is
    not part of the compose project the password is not known, unless the bench's
    configuration has it, as Frappe's own commands read it."""
    values = config(site)
    for user, password in (("root", os.environ.get("DATABASE_ROOT_PASSWORD")), (values.get("root_login") or "root", values.get("root_password"))):
        if not password:
            continue
        account = Account(site, user, password)
        try:
            if account.query(f"select 1 from information_schema.schemata where schema_name = '{account.name}'", patience=10):
                return account
        except SystemExit:
            pass
    return None


def foreign(site):
    """The views, triggers, routines and events in the site's database that run
    with the rights of others than the site's user, as text, with whose."""
    own = Account(site)
    account = administrator(site) or own
    me, name = own.value("select current_user()"), own.name
    return [f"{kind} {what} of {definer}" for kind, what, definer in account.query(" union ".join((
        f"select 'view', table_name, definer from information_schema.views where table_schema = '{name}'",
        f"select 'trigger', trigger_name, definer from information_schema.triggers where trigger_schema = '{name}'",
        f"select lower(routine_type), routine_name, definer from information_schema.routines where routine_schema = '{name}'",
        f"select 'event', event_name, definer from information_schema.events where event_schema = '{name}'"))) if definer != me]


def writer(site):
    """The account that dumps a site and puts it back: the site's own, unless
    there are things of others in its database."""
    own = Account(site)
    return own if not foreign(site) or own.may_name_definers() else definer(site)


def definer(site):
    """The account that may make what runs with the rights of others, or None."""
    other = administrator(site)
    return other if other and other.may_name_definers() else None


def table_names(account, kinds="'BASE TABLE', 'SEQUENCE'"):
    return [row[0] for row in account.query(
        f"select table_name from information_schema.tables where table_schema = '{account.name}' and table_type in ({kinds})")]


def lasting(names):
    return [name for name in names if not name.startswith((LOADING, REPLACED))]


def count_tables(site):
    return str(len(lasting(table_names(Account(site)))))


def tables(site):
    """Prints how many tables the site has."""
    print(count_tables(site))


def bytes_of(site):
    """How many bytes the tables of a site take."""
    account = Account(site)
    return int(account.value("select coalesce(sum(data_length + index_length), 0) from information_schema.tables "
                             f"where table_schema = '{account.name}'"))


def size(files, *sites):
    """Prints how many bytes of room backups of sites take, and with "yes" those
    of their files too; and then how many the largest database takes. Dumps shrink
    to a fraction when they are compressed; half is more than that. Files
    don't shrink."""
    dumps = [bytes_of(site) for site in sites]
    total = sum(dumps) // 2
    for site in sites if files == "yes" else ():
        for folder in FOLDERS:
            for at, _, names in os.walk(f"{site}/{folder}"):
                total += sum(os.lstat(os.path.join(at, one)).st_size for one in names)
    print(total, max(dumps, default=0))


def dumper(account):
    """The command that writes a dump of everything in the database."""
    command = [*account.command("mariadb-dump", "mysqldump"), "--single-transaction", "--quick", "--lock-tables=false",
               "--routines", "--events", "--triggers", f"--max-allowed-packet={LONGEST}"]
    # What a load that was cut off left behind.
    command += [f"--ignore-table={account.name}.{name}" for name in table_names(account, ANYTHING) if name.startswith((LOADING, REPLACED))]
    return command


def unfit(site):
    """Why the site's database could not be dumped or put back, a line for each
    reason."""
    account = writer(site)
    if not account:
        return [f"{one}: the site's user may not put it back; make {Account(site).user} its definer, or put the "
                "administrator's password (root_login, root_password) into common_site_config.json" for one in foreign(site)]
    kinds = account.query("select table_name, table_type from information_schema.tables "
                          f"where table_schema = '{account.name}' and table_type not in ('BASE TABLE', 'VIEW', 'SEQUENCE')")
    reasons = [f"{name} is a table of the kind {kind.lower()}, of which a dump has not everything" for name, kind in kinds]
    # Everything but the rows, which takes a moment: a view of a table that is gone
    # can't be dumped, and nor can what the account may not read.
    tried = subprocess.run([*dumper(account), "--no-data", account.name], env=account.environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if tried.returncode:
        reasons += tried.stderr.strip().splitlines() or [f"a dump of it ends with {tried.returncode}"]
    return reasons


def fit(*sites):
    """Prints everything that keeps databases from being dumped and put back, and
    fails where there is anything."""
    reasons = [f"{site}: {reason}" for site in sites for reason in unfit(site)]
    print("\n".join(reasons), end="\n" if reasons else "")
    if reasons:
        raise SystemExit(1)


def dump(site):
    """Writes the database to standard output, compressed, as bench restore and
    load below read it."""
    account = writer(site)
    if not account:
        raise SystemExit("\n".join(f"{site}: {reason}" for reason in unfit(site)))
    longest = 0
    try:
        with subprocess.Popen(["gzip", "--fast"], stdin=subprocess.PIPE) as packed, \
                subprocess.Popen([*dumper(account), account.name], env=account.environment, stdout=subprocess.PIPE) as source:
            longest = pass_on(source.stdout, packed.stdin)
    except BrokenPipeError:
        # gzip ended before its input did, and has said why.
        pass
    if source.returncode or packed.returncode:
        raise SystemExit(f"{site}: the dump ended with {source.returncode}, gzip with {packed.returncode}")
    taken = LONGEST if packet_raiser(site) else int(Account(site).value("select @@global.max_allowed_packet"))
    # The name under which a table is loaded may be longer than its own.
    if longest + 1000 > taken:
        raise SystemExit(f"{site}: a row takes {longest} bytes in a dump, and could not be put back: the database server takes {taken}. Raise max_allowed_packet there")


def pass_on(dump, target):
    """Copies a dump, and tells how long its longest statement is, which may have a
    line for each row."""
    longest = length = 0
    for line in dump:
        target.write(line)
        length += len(line)
        longest = max(longest, length)
        if line.endswith(b";\n"):
            length = 0
    return longest


def packet_raiser(site):
    """The account that may have the server take longer statements, or None."""
    other = administrator(site)
    try:
        if other:
            other.query("set global max_allowed_packet = @@global.max_allowed_packet")
        return other
    except SystemExit:
        return None


@contextlib.contextmanager
def longer_statements(site):
    """Has the server take statements as long as a client sends them, as far as
    that may be done: a row that grew bit by bit may be longer in a dump than what
    the server takes at once. Where this is killed the server goes on doing so until
    it is started again, which harms nothing."""
    other = packet_raiser(site)
    if not other:
        yield
        return
    before = other.value("select @@global.max_allowed_packet")
    other.query(f"set global max_allowed_packet = {LONGEST}")
    try:
        yield
    finally:
        with contextlib.suppress(SystemExit):
            other.query(f"set global max_allowed_packet = {before}")


def beside(name, prefix=LOADING):
    """What a table is called while it is loaded: the same at every attempt, and
    short enough whatever its name is."""
    return prefix + hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:24]


NAMED = re.compile(rb"(DROP TABLE IF EXISTS |CREATE TABLE |/\*!40000 ALTER TABLE |INSERT +(?:IGNORE +)?INTO |REPLACE +INTO |"
                   rb"DROP SEQUENCE IF EXISTS |CREATE SEQUENCE |DO SETVAL\(|SELECT SETVAL\()`((?:[^`]|``)+)`")
CONSTRAINT = re.compile(rb"(\s+CONSTRAINT )`((?:[^`]|``)+)`( FOREIGN KEY .* REFERENCES )`((?:[^`]|``)+)`")
HEADING = re.compile(rb"-- (Table structure for table|Sequence structure for|Dumping data for table) ")
OTHER_HEADING = re.compile(rb"-- (Temporary (table|view) structure for|Final view structure for|Dumping (events|routines|triggers) for) ")


class Parts:
    """A dump, taken apart as it is read: what makes tables, under the names that
    they have while they are loaded, and what makes the views, triggers, routines
    and events, which is little and is kept for afterwards. constraints are the
    names of foreign keys that are not free. What the lines mean is read off
    mariadb-dump 10.6 to 11.8 and mysqldump 8.0; a row never begins a line with a
    keyword, because line ends in values are written as \\n."""

    def __init__(self, lines, constraints):
        self.constraints, self.misnamed, self.made = constraints, [], None
        self.lines, self.names, self.sequences, self.preamble, self.others, self.completed = lines, {}, 0, [], [], False

    def renamed(self, quoted):
        self.made = unquoted(quoted)
        new = beside(self.made)
        self.names[new] = self.made
        return b"`" + new.encode() + b"`"

    def __iter__(self):
        part, delimiter, ended = self.preamble, b";", True
        for line in self.lines:
            if ended and line.startswith(b"DELIMITER "):
                delimiter = line.split()[1]
                self.others.append(line)
                continue
            if delimiter != b";":
                # It belongs to what is made, whatever it looks like.
                self.others.append(line)
                ended = line.rstrip().endswith(delimiter)
                continue
            if line.startswith(b"-- "):
                if HEADING.match(line):
                    part = None
                elif OTHER_HEADING.match(line):
                    part = self.others
                elif line.startswith(b"-- Dump completed"):
                    self.completed = True
                continue
            if part is None and line.startswith(b"/*!50003 "):
                # Triggers stand after the rows of their table.
                self.others.append(line)
            elif part is None:
                yield self.table(line)
            elif part is self.preamble:
                part.append(line)
                yield line
            elif not re.match(rb"/\*![0-9]+ SET [^ ]+=@OLD_", line):
                part.append(line)

    def table(self, line):
        if line.startswith((b"LOCK TABLES ", b"UNLOCK TABLES")):
            # Nobody else uses them, and a default may read a sequence.
            return b""
        if match := NAMED.match(line):
            self.sequences += match[1] == b"CREATE SEQUENCE "
            return match[1] + self.renamed(match[2]) + line[match.end():]
        if match := CONSTRAINT.match(line):
            return self.foreign_key(match, line[match.end():])
        return line

    def foreign_key(self, match, rest):
        """A foreign key, under a name that is free: they are one of a kind in a
        database. Earlier versions left them with a ~ before their names."""
        wanted = name = unquoted(match[2]).lstrip("~")
        while name in self.constraints:
            name = "~" + name if len(name) < 64 else beside(name)
        self.constraints.add(name)
        table = unquoted(match[4])
        if name != wanted:
            self.misnamed.append((self.made, name, wanted, (match[3].decode() + quoted(table) + rest.decode()).rstrip(",\n")))
        return match[1] + quoted(name).encode() + match[3] + quoted(beside(table)).encode() + rest


def statements(account, sql, what):
    """Runs statements. What others hold is waited for, and then taken from them:
    the site is closed."""
    for attempt in range(4):
        done = subprocess.run(account.loader(), env=account.environment,
                              input=b"set session lock_wait_timeout = 15, foreign_key_checks = 0;\n" + sql, stderr=subprocess.PIPE)
        if done.returncode == 0:
            return
        said = complaint(done.stderr.decode(errors="replace"))
        # 1205: it waited too long.
        if "ERROR 1205" not in said:
            break
        end_sessions(account.site)
        said += ": a session that can't be seen from here holds it; SHOW PROCESSLIST as the database's administrator names it"
    raise SystemExit(f"{account.site}: {what}: {said}")


def quoted(name):
    return "`" + name.replace("`", "``") + "`"


def unquoted(name):
    return name.replace(b"``", b"`").decode()


def drop(account, names):
    """Drops tables, sequences and views, and nothing that is in use as another."""
    if names:
        kinds = dict(account.query(f"select table_name, table_type from information_schema.tables where table_schema = '{account.name}'"))
        statements(account, "\n".join(f"drop {kinds.get(name, '').lower() if kinds.get(name) in ('SEQUENCE', 'VIEW') else 'table'} if exists {quoted(name)};" for name in names).encode(),
                   "drop what is replaced")


def load(site, tables):
    """Puts the dump on standard input in the place of the site's database, when it
    is loaded whole and has as many tables as are expected."""
    account = Account(site)
    drop(account, being_loaded(account))
    try:
        parts, loaded = load_whole(account, int(tables))
        change_places(account, parts)
    except BaseException:
        # A disk that is full gets back what is of no use. Where that can't be done
        # either, the reason of the first failure is the one to know.
        with contextlib.suppress(SystemExit):
            drop(account, being_loaded(account))
        raise
    found = count_tables(site)
    if found != str(len(loaded)):
        raise SystemExit(f"{site}: after loading there are {found} tables and not {len(loaded)}")
    flush()
    print(f"{site}: {found} tables")


def being_loaded(account):
    return [name for name in table_names(account) if name.startswith(LOADING)]


def load_whole(account, expected):
    """Loads the dump beside the site's tables, and makes sure that it is whole."""
    with longer_statements(account.site):
        parts = load_beside(account)
    loaded = being_loaded(account)
    # Earlier versions did not count sequences.
    if not parts.completed or len(loaded) - expected not in (0, parts.sequences) or set(loaded) != set(parts.names):
        raise SystemExit(f"{account.site}: the dump {'has an' if parts.completed else 'has no'} end, and {len(loaded)} tables of it could be loaded, not {expected}: "
                         "the database is as it was")
    return parts, loaded


def load_beside(account):
    """Loads the tables of the dump on standard input beside those of the site."""
    constraints = {row[0] for row in account.query("select constraint_name from information_schema.table_constraints "
                                                   f"where constraint_schema = '{account.name}' and constraint_type = 'FOREIGN KEY'")}
    # Not on a disk: that it is full may be what the client has to say.
    said = open(os.memfd_create("said"), "w+", errors="replace")
    try:
        with subprocess.Popen(["gzip", "--decompress", "--stdout"], stdout=subprocess.PIPE) as source, \
                subprocess.Popen(account.loader(), env=account.environment, stdin=subprocess.PIPE, stderr=said) as target:
            parts = Parts(source.stdout, constraints)
            # A table may have been made while rows could be longer than InnoDB likes.
            target.stdin.write(b"set session foreign_key_checks = 0 /*M!100000 , session innodb_strict_mode = 0 */;\n")
            for line in parts:
                target.stdin.write(line)
    except BrokenPipeError:
        # The client ended before its input did, and has said why.
        pass
    if source.returncode or target.returncode:
        said.seek(0)
        raise SystemExit(f"{account.site}: reading the dump ended with {source.returncode}, loading it with {target.returncode}: {complaint(said.read())}: the database is as it was")
    return parts


def change_places(account, parts):
    """Has loaded tables and the site's own change places, and makes the views,
    triggers, routines and events as they are in the dump."""
    end_sessions(account.site)
    # Those of an attempt that was cut off here are rows of no use to anybody: a
    # dump was asked for in their place.
    drop(account, [name for name in table_names(account, ANYTHING) if name.startswith(REPLACED)])
    # A view may have come in the place of a table.
    views, tables = table_names(account, "'VIEW'"), set(parts.names.values())
    live = lasting(table_names(account)) + [name for name in views if name in tables]
    pairs = [(name, beside(name, REPLACED)) for name in live] + list(parts.names.items())
    others = "".join(f"drop view if exists {quoted(name)};\n" for name in views if name not in tables)
    for kind, name in account.query(
            f"select routine_type, routine_name from information_schema.routines where routine_schema = '{account.name}' "
            f"union select 'EVENT', event_name from information_schema.events where event_schema = '{account.name}'"):
        others += f"drop {kind} if exists {quoted(name)};\n"
    statements(account, ("rename table " + ", ".join(f"{quoted(old)} to {quoted(new)}" for old, new in pairs) + ";\n").encode(), "put loaded tables in their places")
    # With their tables go their triggers, the names of which are one of a kind.
    drop(account, [beside(name, REPLACED) for name in live])
    # What is there now does not tell whose things the dump has.
    statements(definer(account.site) or account, others.encode() + b"".join(parts.preamble + parts.others), "make views, triggers, routines and events")
    name_foreign_keys(account, parts)


def name_foreign_keys(account, parts):
    """Gives foreign keys the names that they have in the dump, which were those of
    replaced tables: a patch may ask for them. Nothing else depends on it."""
    for table, name, wanted, definition in parts.misnamed:
        try:
            statements(account, f"alter table {quoted(table)} drop foreign key {quoted(name)}, "
                                f"add constraint {quoted(wanted)}{definition}, algorithm=inplace;\n".encode(), "name foreign keys")
        except SystemExit as error:
            print(f"warning: the foreign key {wanted} of {table} is called {name} now: {error}", flush=True)


class Session:
    """A connection of others to the database of a site."""

    def __init__(self, number, user, host, command, seconds, state):
        self.id, self.user, self.host, self.command, self.seconds, self.state = number, user, host, command, int(seconds), state

    def __str__(self):
        return f"{self.user} at {self.host}, {self.command.lower()} for {self.seconds} s"


def sessions(site):
    """The sessions at the site's database that are not this one's, as far as they
    can be seen: without the administrator's password only those of the site's own
    user can."""
    account = administrator(site) or Account(site)
    return [Session(*row) for row in account.query(
        "select id, user, host, command, coalesce(time, 0), coalesce(state, '') from information_schema.processlist "
        f"where db = '{account.name}' and id <> connection_id() and user not in ('system user', 'event_scheduler')")]


def end_sessions(*sites):
    """Ends the sessions of others at the databases of closed sites, and names
    them. A question that a closed site asks itself, to say that it is closed, is
    over in a moment: only who is there twice is ended."""
    for site in sites:
        before = {one.id for one in sessions(site)}
        if not before:
            continue
        time.sleep(1)
        for one in sessions(site):
            if one.id in before:
                end(site, one)


def end(site, session):
    account = administrator(site) or Account(site)
    try:
        account.query(f"kill connection {session.id}")
    except SystemExit as error:
        # 1094: it has ended by itself.
        if "1094" not in str(error):
            print(f"warning: {session} can't be ended: {error}", flush=True)
        return
    print(f"{site}: ended a session that was open in the closed site: {session}", flush=True)


def guard(*sites):
    """While the databases of closed sites change from this container: where a
    statement of it waits for a lock, ends the sessions of others at that database.
    Where the lock is held by a session that can't be seen, what waits is ended
    after five minutes: by itself it would for a day. Runs until standard input
    ends."""
    while not select.select([sys.stdin], [], [], 2)[0]:
        for site in sites:
            try:
                watch(site)
            except SystemExit:
                # The server may be starting. What waits for it says so.
                continue


def watch(site):
    account = administrator(site) or Account(site)
    here = account.value("select host from information_schema.processlist where id = connection_id()").partition(":")[0]
    all_of_them = sessions(site)
    others = [one for one in all_of_them if one.host.partition(":")[0] != here]
    for one in all_of_them:
        if one in others or not re.search(r"[Ww]aiting for .*lock", one.state) or one.seconds < 5:
            continue
        for other in others:
            end(site, other)
        if one.seconds >= 300:
            print(f"{site}: gave up waiting for a lock of a session that can't be seen from here: "
                  "SHOW PROCESSLIST as the database's administrator names it", flush=True)
            end(site, one)
