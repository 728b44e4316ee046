#!/usr/bin/python3
"""Stands in for the docker command where containers of workers are what matters:
a container is a process with its children, and its state is what the kernel
says. Folders: DOCKER_STATE/containers/ID with the files service and pid."""

import os
import signal
import subprocess
import sys
import time

STATE = os.environ["DOCKER_STATE"]


def at(one, name):
    return f"{STATE}/containers/{one}/{name}"


def read(path):
    with open(path) as file:
        return file.read().strip()


def stat(pid):
    try:
        return read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return ["Z", "0"]


def running(one):
    return os.path.exists(at(one, "pid")) and stat(read(at(one, "pid")))[0] != "Z"


def below(pid):
    children = [entry for entry in os.listdir("/proc") if entry.isdigit() and stat(entry)[1] == pid]
    return [pid] + [other for child in children for other in below(child)]


def end(one, number):
    if not running(one):
        return 1
    # Without its first process all of a container ends.
    for pid in below(read(at(one, "pid"))) if number == signal.SIGKILL else [read(at(one, "pid"))]:
        os.kill(int(pid), number)
    while number == signal.SIGKILL and running(one):
        time.sleep(0.01)
    return 0


def start(one):
    if running(one):
        return
    program = [sys.executable, f"{STATE}/worker.py", one] if "worker" in one else ["sleep", "600"]
    with open(f"{STATE}/log", "a") as log:
        process = subprocess.Popen(program, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=STATE)
    with open(at(one, "pid"), "w") as file:
        file.write(str(process.pid))


def main(verb, *rest):
    with open(f"{STATE}/calls", "a") as file:
        print(verb, *[one for one in rest if "\n" not in one], file=file)
    every = sorted(os.listdir(f"{STATE}/containers"))
    ids = [one for one in rest if one in every]
    if verb == "ps":
        for one in every:
            if f"label=com.docker.compose.service={read(at(one, 'service'))}" in rest:
                print(one, f"{os.environ['DIR']}/releases/1.0.0/compose.yaml")
    elif verb == "exec":
        _, _, _, _, text, asked, *arguments = rest
        if os.path.exists(f"{STATE}/fail-{asked}"):
            return 1
        text = text.replace("/home/frappe/frappe-bench/sites", f"{STATE}/sites")
        return subprocess.run([sys.executable, "-c", text, asked, *arguments]).returncode
    elif verb == "inspect":
        for one in ids:
            status = "State.Status" in rest[1]
            print(("running" if status else "true") if running(one) else ("exited" if status else "false"), one)
    elif verb == "kill":
        return max(end(one, signal.SIGTERM if "TERM" in rest else signal.SIGKILL) for one in ids)
    elif verb == "stop":
        for one in ids:
            end(one, signal.SIGKILL)
    elif verb == "start":
        for one in ids:
            start(one)
    elif verb == "rm":
        for one in ids:
            os.rename(f"{STATE}/containers/{one}", f"{STATE}/removed-{one}")
    else:
        return f"docker {verb} is not known here"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
