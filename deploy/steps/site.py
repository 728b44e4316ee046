"""Does for a deploy what bench has no command for, or has one that does more
than is wanted: bench's own backup deletes older backups, and its restore asks
for the password of the database's root.

    site.py VERB ARGUMENTS…      in a backend container
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

os.chdir("/home/frappe/frappe-bench/sites")


def read(path):
    with open(path) as file:
        return json.load(file)


def config(site):
    values = read("common_site_config.json") if os.path.exists("common_site_config.json") else {}
    return values | read(f"{site}/site_config.json")


def change(site, key, value):
    """Sets a key of a site's configuration, or with None takes it out. The file
    is replaced in one step: what reads it meanwhile reads all of it."""
    path = f"{site}/site_config.json"
    values = read(path)
    if values.get(key) == value and (key in values) == (value is not None):
        return
    values.pop(key, None)
    if value is not None:
        values[key] = value
    mode = os.stat(path).st_mode
    with open(path + ".new", "w") as file:
        json.dump(values, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), mode)
    os.replace(path + ".new", path)


def maintenance(verb, *rest):
    """get SITE…: prints the mode of each site as JSON. on or off SITE…"""
    if verb == "get":
        print(json.dumps({site: read(f"{site}/site_config.json").get("maintenance_mode") for site in rest}))
    else:
        for site in rest:
            change(site, "maintenance_mode", int(verb == "on"))


def serving(*sites):
    """Prints the sites that are not in maintenance."""
    print(" ".join(site for site in sites if not config(site).get("maintenance_mode")))


def server_at(key):
    """A connection to the Redis that the bench's configuration has under a key."""
    import redis

    return redis.from_url(read("common_site_config.json")[key])


def jobs(server):
    """How many jobs wait, and how many run, by queue. The names are those of RQ,
    which keeps a job being done in a set, with the time until which that is
    believed."""
    waiting, running = {}, {}
    for key in sorted(server.smembers("rq:queues")):
        name = key.decode().removeprefix("rq:queue:")
        if count := server.llen(f"rq:queue:{name}"):
            waiting[name] = count
        if count := server.zcount(f"rq:wip:{name}", time.time(), "+inf"):
            running[name] = count
    return waiting, running


def drain(limit):
    """Waits until no job waits or runs."""
    server, give_up, said = server_at("redis_queue"), time.monotonic() + float(limit), None
    while True:
        waiting, running = jobs(server)
        if not waiting and not running:
            return
        text = ", ".join([f"{n} wait in {name}" for name, n in waiting.items()] + [f"{n} run from {name}" for name, n in running.items()])
        if time.monotonic() > give_up:
            raise SystemExit(f"jobs have not ended in {limit} s: {text}")
        if text != said:
            print("jobs:", text, flush=True)
        said = text
        time.sleep(0.2)


def close(*sites):
    """Puts sites into maintenance mode, and prints how many jobs wait or run
    then."""
    server = server_at("redis_queue")
    maintenance("on", *sites)
    waiting, running = jobs(server)
    print(sum(waiting.values()) + sum(running.values()))


def open_again(*sites):
    """Empties the cache and ends the maintenance mode of sites."""
    flush()
    maintenance("off", *sites)


def put_back(modes):
    """Empties the cache, which the release that did not go live has used too,
    and puts sites into the modes that they were in: JSON, as get prints it."""
    flush()
    for site, value in json.loads(modes).items():
        change(site, "maintenance_mode", value)


def workers(*containers):
    """Waits until each of some containers has a worker at the queue. A worker
    says there on what machine it runs, which is the container's short id."""
    server, give_up = server_at("redis_queue"), time.monotonic() + 60
    missing = {one[:12] for one in containers}
    while missing:
        for key in server.smembers("rq:workers"):
            missing.discard((server.hget(key, "hostname") or b"").decode()[:12])
        if missing and time.monotonic() > give_up:
            raise SystemExit(f"no worker of {' '.join(sorted(missing))} is at the queue")
        time.sleep(0.1 if missing else 0)


def workers_in(server, containers):
    """The keys of the workers that run in some containers, with the container of
    each."""
    short = {one[:12]: one for one in containers}
    for key in sorted(server.smembers("rq:workers")):
        at = (server.hget(key, "hostname") or b"").decode()[:12]
        if at in short:
            yield key, short[at]


def untold(*containers):
    """Prints those of some containers that no worker of was told to end. One at a
    job says so at the queue; another one ends at once."""
    server = server_at("redis_queue")
    told = {at for key, at in workers_in(server, containers) if server.hget(key, "shutdown_requested_date")}
    print("\n".join(one for one in containers if one not in told))


def under_way(*containers):
    """Prints the jobs that workers in some containers do, a line each."""
    server = server_at("redis_queue")
    for key, _ in workers_in(server, containers):
        if job := server.hget(key, "current_job"):
            print(job.decode())


# Puts a job back to the front of its queue in one step: if it is among those
# being done, which it is no more then. Newer versions of RQ note it there with
# the number of the attempt.
PUT_BACK = """
local queue, job = ARGV[1], ARGV[2]
local was = false
for _, one in ipairs(redis.call('zrange', 'rq:wip:' .. queue, 0, -1)) do
  if one == job or string.sub(one, 1, #job + 1) == job .. ':' then
    redis.call('zrem', 'rq:wip:' .. queue, one)
    was = true
  end
end
if not was or redis.call('exists', 'rq:job:' .. job) == 0 then return 0 end
redis.call('lrem', 'rq:queue:' .. queue .. ':intermediate', 0, job)
redis.call('lrem', 'rq:queue:' .. queue, 0, job)
redis.call('hset', 'rq:job:' .. job, 'status', 'queued')
redis.call('hdel', 'rq:job:' .. job, 'started_at', 'ended_at', 'last_heartbeat', 'worker_name')
redis.call('persist', 'rq:job:' .. job)
redis.call('sadd', 'rq:queues', 'rq:queue:' .. queue)
redis.call('lpush', 'rq:queue:' .. queue, job)
return 1
"""


def put_jobs_back(limit, *ids):
    """Puts jobs of which the workers were ended by force back to the front of
    their queues. One that came to its end, or is there already, is left as it
    is."""
    server = server_at("redis_queue")
    for job in reversed(ids):
        queue = (server.hget(f"rq:job:{job}", "origin") or b"").decode()
        if not queue or not server.eval(PUT_BACK, 0, queue, job):
            continue
        # Its worker is gone without a word, and would be looked after as one at
        # this job.
        for key in server.smembers("rq:workers"):
            if server.hget(key, "current_job") == job.encode():
                server.hdel(key, "current_job")
        print(f"note: job {job} of the queue {queue} ({called(server, job)}) did not end in {limit} s: it was ended, and put back to the front of its queue", flush=True)


def called(server, job):
    """What a job calls, without what it is called with."""
    try:
        from rq.job import Job

        job = Job.fetch(job, connection=server)
        return job.kwargs.get("job_name") or job.kwargs.get("method") or job.func_name
    except Exception:  # it is for people, and of no use to put it back
        return "it can't be told what it does"


def flush():
    """Empties the cache, where containers of the release before have left
    things of their own, the list of assets above all."""
    server_at("redis_cache").flushdb()


def forget_assets():
    """Takes the list of assets, which all sites share, out of the cache."""
    server_at("redis_cache").delete("assets_json")


def client(site, *names):
    """The command line of a database program, and an environment with the
    password: it is in no argument list."""
    values = config(site)
    program = next(filter(None, map(shutil.which, names)), None)
    if not program:
        raise SystemExit(f"{names[0]} is not in the image")
    arguments = ["--user", values.get("db_user") or values["db_name"], "--default-character-set=utf8mb4"]
    if values.get("db_socket"):
        arguments += ["--socket", values["db_socket"]]
    else:
        arguments += ["--host", values.get("db_host") or "localhost", "--port", str(values.get("db_port") or 3306)]
    return [program, *arguments], os.environ | {"MYSQL_PWD": values["db_password"]}, values["db_name"]


def query(site, sql):
    command, environment, _ = client(site, "mariadb", "mysql")
    give_up = time.monotonic() + 120
    while True:
        done = subprocess.run([*command, "--batch", "--skip-column-names", "--execute", sql], env=environment, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.strip()
        # 2002 and 2003: no server answers. One that starts is waited for.
        if time.monotonic() > give_up or not any(code in done.stderr for code in ("ERROR 2002", "ERROR 2003", "ERROR 2013")):
            raise SystemExit(f"{site}: {done.stderr.strip()}")
        time.sleep(0.5)


def count_tables(site):
    name = client(site, "mariadb", "mysql")[2]
    return query(site, f"select count(*) from information_schema.tables where table_schema = '{name}' and table_type = 'BASE TABLE'")


def tables(site):
    """Prints how many tables the site has."""
    print(count_tables(site))


def size(files, *sites):
    """Prints how many bytes the databases have, and with "yes" the files too."""
    total = 0
    for site in sites:
        name = client(site, "mariadb", "mysql")[2]
        total += int(query(site, f"select coalesce(sum(data_length), 0) from information_schema.tables where table_schema = '{name}'"))
        for folder in ("public/files", "private/files") if files == "yes" else ():
            for at, _, names in os.walk(f"{site}/{folder}"):
                total += sum(os.lstat(os.path.join(at, one)).st_size for one in names)
    print(total)


def dump(site):
    """Writes the database to standard output, compressed, as bench restore and
    load below read it."""
    command, environment, name = client(site, "mariadb-dump", "mysqldump")
    command += ["--single-transaction", "--quick", "--lock-tables=false", "--routines", "--events", "--triggers", "--max-allowed-packet=1G", name]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as source:
        packed = subprocess.run(["gzip", "--fast"], stdin=source.stdout)
        source.stdout.close()
    if source.returncode or packed.returncode:
        raise SystemExit(f"{site}: the dump ended with {source.returncode}, gzip with {packed.returncode}")


def load(site, tables):
    """Puts the dump on standard input in the place of the site's database."""
    command, environment, name = client(site, "mariadb", "mysql")
    how = query(site, f"select default_character_set_name, default_collation_name from information_schema.schemata where schema_name = '{name}'").split()
    charset, collation = how or ("utf8mb4", "utf8mb4_unicode_ci")
    query(site, f"drop database if exists `{name}`; create database `{name}` character set {charset} collate {collation}")
    with subprocess.Popen(["gzip", "--decompress", "--stdout"], stdout=subprocess.PIPE) as source:
        loaded = subprocess.run([*command, "--max-allowed-packet=1G", name], env=environment, stdin=source.stdout)
        source.stdout.close()
    if source.returncode or loaded.returncode:
        raise SystemExit(f"{site}: reading the dump ended with {source.returncode}, loading it with {loaded.returncode}")
    found = count_tables(site)
    if found != tables.strip():
        raise SystemExit(f"{site}: after loading there are {found} tables and not {tables}")
    flush()
    print(f"{site}: {found} tables")


def pack(site):
    """Writes the site's files to standard output as an archive."""
    folders = [folder for folder in ("public/files", "private/files") if os.path.isdir(f"{site}/{folder}")]
    subprocess.run(["tar", "--create", "--file=-", f"--directory={site}", *folders], check=True)


def unpack(site):
    """Puts the files of an archive on standard input in the place of the
    site's. They are unpacked beside them, and then change places."""
    fresh = f"{site}/.restored-files"
    shutil.rmtree(fresh, ignore_errors=True)
    os.mkdir(fresh)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        archive.extractall(fresh)
    for folder in ("public/files", "private/files"):
        if not os.path.isdir(f"{fresh}/{folder}"):
            continue
        if os.path.isdir(f"{site}/{folder}"):
            os.rename(f"{site}/{folder}", f"{fresh}/{folder}.before")
        os.rename(f"{fresh}/{folder}", f"{site}/{folder}")
    shutil.rmtree(fresh)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
