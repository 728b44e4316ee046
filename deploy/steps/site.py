# Does for a deploy what bench has no command for, or has one that does more than
# is wanted: bench's own backup deletes older backups, and its restore asks for the
# password of the database's root. It follows database.py:
#
#     python -c "$(cat database.py site.py)" VERB ARGUMENTS… [-- VERB ARGUMENTS…]   in a backend container

import signal
import tarfile

os.chdir("/home/frappe/frappe-bench/sites")


def bench_sites(*known):
    """Prints the sites of the bench. One that was never finished, or the database
    of which is not there, is left as it is and named; but of one that was live
    before that is an error."""
    for path in sorted(os.listdir()):
        if not os.path.isfile(f"{path}/site_config.json"):
            continue
        reason = unfinished(path)
        if reason and path in known:
            raise SystemExit(f"site {path}: {reason}")
        if reason:
            print(f"note: the site {path} is left as it is: {reason}", file=sys.stderr)
        else:
            print(path)


def unfinished(site):
    """Why a site is not a whole one; nothing where it is."""
    if os.path.exists(f".new-site-{site}"):
        return "making it was not finished"
    try:
        values = config(site)
    except ValueError as error:
        return f"its site_config.json can't be read: {error}"
    if "db_name" not in values:
        return "its site_config.json names no database"
    if values.get("db_type", "mariadb") != "mariadb":
        raise SystemExit(f"site {site} has a database of the kind {values['db_type']}: this pipeline can back up MariaDB and nothing else")
    account = Account(site)
    try:
        if "tabDefaultValue" not in table_names(account):
            return "its database has no tables of Frappe's"
        # What new-site writes when the first app is installed.
        if not account.query(f"select 1 from {quoted(account.name)}.tabDefaultValue where parent = '__global' and defkey = 'installed_apps'"):
            return "no app is installed on it"
    except Refused as error:
        return f"its database refuses: {error}"
    return ""


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
    # A power cut must not take back that a site is closed.
    folder = os.open(site, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def get_url(*sites):
    """Prints each site with the address that links to it begin with, if it has one, and
    the word common where that is from the configuration of all sites."""
    common = read("common_site_config.json").get("host_name")
    for site in sites:
        own = read(f"{site}/site_config.json").get("host_name")
        print(site, own or (f"{common} common" if common else ""))


def set_url(site, url):
    """Sets the address that links to a site begin with; an empty one takes it out."""
    change(site, "host_name", url or None)


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


def readers(*sites):
    """Prints the sites that answer requests which only read while they are
    closed."""
    print(" ".join(site for site in sites if config(site).get("allow_reads_during_maintenance")))


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
    """Puts sites into maintenance mode."""
    maintenance("on", *sites)


def jobs_left():
    """Prints how many jobs wait or run."""
    waiting, running = jobs(server_at("redis_queue"))
    print(sum(waiting.values()) + sum(running.values()))


def requests_under_way():
    """The connections to the application server of this container, by the address
    at the other end. The proxy makes one for each request."""
    found = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path) as file:
            for line in file.readlines()[1:]:
                _, local, remote, state, *_ = line.split()
                # 1F40 is the port 8000, and 01 means that it is established.
                if local.endswith(":1F40") and state == "01":
                    found.add(remote)
    return found


def await_requests(limit):
    """Waits until every request that was under way has ended. One that begins
    later finds the site closed. Fails where that takes too long."""
    left, give_up = requests_under_way(), time.monotonic() + float(limit)
    while left:
        if time.monotonic() > give_up:
            raise SystemExit(f"{len(left)} requests take longer than {limit} s")
        time.sleep(0.1)
        left &= requests_under_way()


def processes():
    """The parent and the command line of every process, by its id."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat, open(f"/proc/{entry}/cmdline") as line:
                found[int(entry)] = int(stat.read().rpartition(")")[2].split()[1]), line.read()
        except OSError:  # it has ended meanwhile
            pass
    return found


def is_gunicorn(line):
    """Whether a command line is gunicorn's own, and not that of what started it: it
    runs as a program of Python's, or has given itself a name."""
    words = line.split("\0")
    return any(os.path.basename(word).startswith("gunicorn") for word in words[:3 if words[1:2] == ["-m"] else 2])


def renew(limit):
    """Has the application server of this container begin with new processes, where
    they keep the configuration of sites for a minute, as those of Frappe 16 do for
    requests (frappe/config.py): they would not see that a site is closed, or open
    again. What the old ones are at is brought to its end."""
    try:
        with open("../apps/frappe/frappe/config.py") as file:
            if "site_cache" not in file.read():
                return
    except FileNotFoundError:
        return
    before = processes()
    masters = [one for one, (parent, line) in before.items() if is_gunicorn(line) and not is_gunicorn(before.get(parent, (0, ""))[1])]
    if not masters:
        raise SystemExit("this server keeps the configuration of sites, and can't be told to read it again")
    old = {one for one, (parent, _) in before.items() if parent in masters}
    for one in masters:
        os.kill(one, signal.SIGHUP)
    give_up = time.monotonic() + float(limit)
    while old := old & processes().keys():
        if time.monotonic() > give_up:
            raise SystemExit(f"{len(old)} processes of the server have not ended in {limit} s")
        time.sleep(0.1)


def await_closed(requests, processes):
    """Waits until the application server of this container has nothing under way that
    began while its sites were open, and answers that they are closed."""
    await_requests(requests)
    renew(processes)


def get(site, path, limit):
    """What the application server of this container answers for a path of a site. The
    proxy may lead every visitor to the same site, so it is not asked; nor is one for the
    way out."""
    import urllib.request

    page = urllib.request.Request("http://127.0.0.1:8000" + path, headers={"Host": site, "X-Frappe-Site-Name": site})
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(page, timeout=limit)


def answer(site, limit):
    """What the application server of this container answers for a site, and what it
    has to: for a closed one that it is. It is waited for."""
    import urllib.error

    values = config(site)
    closed = values.get("maintenance_mode") and not values.get("allow_reads_during_maintenance")
    code, give_up, got = "503" if closed else "200", time.monotonic() + limit, None
    while got != code and time.monotonic() < give_up:
        if got:
            time.sleep(0.2)
        try:
            with get(site, "/api/method/ping", 10) as response:
                got = str(response.status)
        except urllib.error.HTTPError as error:
            got = str(error.code)
        except OSError as error:
            got = str(error)
    return got, code


def warm(site):
    """Has the processes of the application server of this container make a page: for
    its first one each imports and compiles what it needs, which takes longer than some
    visitors wait. Which process a connection goes to can't be chosen, so more ask at
    once than there are, up to 16, and most likely each gets one. Whatever is answered
    is right: that a release works is asked for elsewhere."""
    import http.client
    import threading

    def ask():
        try:
            get(site, "/login", 20).close()
        except (OSError, http.client.HTTPException):
            pass

    servers = sum(is_gunicorn(line) for _, line in processes().values())
    asking = [threading.Thread(target=ask) for _ in range(max(1, min(2 * servers, 16)))]
    for one in asking:
        one.start()
    for one in asking:
        one.join()


def answers(*sites):
    """Waits until the application server answers for each site."""
    for site in sites:
        got, code = answer(site, 60)
        if got != code:
            raise SystemExit(f"site {site} answers with {got}, not with {code}")
        print(f"{site} answers with {got}")


def mute(*sites):
    """Prints the sites that are not closed and not answered for as they should be, and
    with what."""
    for site in sites:
        if config(site).get("maintenance_mode"):
            continue
        got, code = answer(site, 10)
        if got != code:
            print(site, got)


def put_back(modes):
    """Empties the cache, in which another release has left things of its own, and
    puts sites into the modes that they were in: JSON, as get prints it. One that
    an administrator had closed stays closed."""
    import redis

    try:
        flush()
    except redis.exceptions.ConnectionError as error:
        # It may be down already, where everything is taken down again.
        print(f"the cache is not emptied: {error}")
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
    things of their own, the list of assets above all. A server that has just
    been started may be reading what it has."""
    import redis

    give_up = time.monotonic() + 20
    while True:
        try:
            return empty(server_at("redis_cache"))
        except redis.exceptions.ConnectionError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)


def empty(cache):
    """Deletes everything that is no job: what is in the same database as the
    queue is not all of it a cache."""
    if "redis_queue" not in read("common_site_config.json"):
        cache.flushdb()
        return
    places = place(cache), place(server_at("redis_queue"))
    if None not in places and places[0] != places[1]:
        cache.flushdb()
        return
    for key in cache.scan_iter(count=1000):
        if not key.startswith(b"rq:"):
            cache.delete(key)


def place(server):
    """Which database of which Redis it is, whatever names that has; None where
    the server does not tell."""
    import redis

    try:
        return server.info("server")["run_id"], server.connection_pool.connection_kwargs.get("db") or 0
    except redis.exceptions.ResponseError:
        return None


def forget_assets():
    """Takes the list of assets, which all sites share, out of the cache."""
    server_at("redis_cache").delete("assets_json")


# What is in these folders while the files of a backup change places with theirs.
RESTORED, REPLACED = ".restored-files", ".replaced-files"

# What no visitor has put there; the last a disk of its own has by itself.
NO_FILES = {RESTORED, REPLACED, "lost+found"}


def pack(site):
    """Writes the site's files to standard output as an archive."""
    # With the dot tar goes where a link leads.
    folders = [folder + "/." for folder in FOLDERS if os.path.isdir(f"{site}/{folder}")]
    left = [f"--exclude={folder}/./{name}" for folder in FOLDERS for name in sorted(NO_FILES)]
    subprocess.run(["tar", "--create", "--file=-", f"--directory={site}", "--anchored", *left, *folders], check=True)


def unpack(site):
    """Puts the files of an archive on standard input in the place of the site's. They
    are unpacked beside these, on the same disk, and then change places with them. A
    folder that the archive does not have stays as it is."""
    fresh = f"{site}/{RESTORED}"
    shutil.rmtree(fresh, ignore_errors=True)
    for folder in FOLDERS:
        at = f"{site}/{folder}"
        for name in (RESTORED, REPLACED):
            shutil.rmtree(f"{at}/{name}", ignore_errors=True)
        os.makedirs(f"{at}/{RESTORED}")
        # What is unpacked here comes to lie there.
        os.makedirs(os.path.dirname(f"{fresh}/{folder}"), exist_ok=True)
        os.symlink(os.path.abspath(f"{at}/{RESTORED}"), f"{fresh}/{folder}")
    found = set()

    def seen(archive):
        for member in archive:
            found.update(folder for folder in FOLDERS if f"{member.name}/".startswith(f"{folder}/"))
            yield member

    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        # It is our own: a link in it may lead anywhere.
        archive.extractall(fresh, seen(archive), **({"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}))
    for folder in FOLDERS:
        at = f"{site}/{folder}"
        # A power cut must not leave empty ones in the place of those that are dropped.
        to_disk(at)
        if folder in found:
            os.mkdir(f"{at}/{REPLACED}")
            for name in set(os.listdir(at)) - NO_FILES:
                os.rename(f"{at}/{name}", f"{at}/{REPLACED}/{name}")
            for name in set(os.listdir(f"{at}/{RESTORED}")) - NO_FILES:
                os.rename(f"{at}/{RESTORED}/{name}", f"{at}/{name}")
            to_disk(at)
    for folder in FOLDERS:
        for name in (RESTORED, REPLACED):
            shutil.rmtree(f"{site}/{folder}/{name}", ignore_errors=True)
    shutil.rmtree(fresh)


def to_disk(path):
    """Has the file system that has a path write all of it to its disk."""
    import ctypes

    at = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).syncfs(at):
        raise OSError(ctypes.get_errno(), "the disk does not take what was written", path)
    os.close(at)


def run(words):
    """Does verbs with their arguments, one after the other."""
    while words:
        end = words.index("--") if "--" in words else len(words)
        globals()[words[0]](*words[1:end])
        words = words[end + 1:]


if __name__ == "__main__":
    run(sys.argv[1:])
