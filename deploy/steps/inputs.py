"""Prints what a migration reads and runs, a line each: checksum, path, and after
a tab why it counts. Run in an image, or on any folder with apps in it.

    inputs.py [APPS]

Read are an app's patches.txt with the modules that it lists, modules.txt, JSON,
fixtures, hooks.py and web pages. Run is what hooks like after_migrate name: the
modules of these functions, and in turn those that they import or call. Frappe
carries the migration out, so that all of its code counts. Where it can't be told
what runs, all of the app's code counts.
"""

import ast
import hashlib
import json
import os
import re
import sys
from importlib import metadata

PRUNED = {"node_modules", ".git", "public", "dist", "__pycache__"}
# A version number alone changes nothing that a migration does.
VERSION = re.compile(rb"""^__version__\s*=\s*["'][^"'\n]*["'][ \t]*$""", re.M)
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# What loads or runs code that is given by its name or text.
LOADERS = {"__import__", "import_module", "get_attr", "get_module", "run_module", "run_path", "exec", "eval", "execfile"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Module:
    """The code of one file: what runs when it is imported, and the functions and
    classes that it defines."""

    def __init__(self, path, package):
        self.path, self.defined, self.bound, self.stars, self.top = path, {}, {}, [], []
        # The package that relative imports start from.
        self.package = package
        with open(path, "rb") as file:
            self.tree = ast.parse(file.read())
        left = list(self.tree.body)
        while left:
            node = left.pop()
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.defined[node.name] = node
            elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
                left += [child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.ExceptHandler))]
            elif isinstance(node, ast.ExceptHandler):
                left += node.body
        self.top = list(at_import(self.tree))
        self.bound, self.stars = self.imports(self.top)

    def imports(self, nodes):
        """The names that imports bind, by what they stand for, and the modules
        of which all names are imported."""
        bound, stars = {}, []
        for node in nodes:
            if isinstance(node, ast.Import):
                for one in node.names:
                    bound[one.asname or one.name.split(".")[0]] = one.name if one.asname else one.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom):
                base = self.base(node)
                for one in node.names:
                    if one.name == "*":
                        stars.append(base)
                    else:
                        bound[one.asname or one.name] = f"{base}.{one.name}"
        return bound, stars

    def base(self, node):
        parts = self.package[: len(self.package) - node.level + 1] if node.level else []
        return ".".join(parts + ([node.module] if node.module else []))


def at_import(tree):
    """What runs when a module is imported: all but the bodies of functions."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, FUNCTIONS) and (child is node.body or isinstance(node.body, list) and child in node.body)):
                left.append(child)


def chain(node):
    """The parts of a name like a.b.c, or nothing."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else []


class Bench:
    def __init__(self, apps):
        # The folders of packages, and what counts: files and packages of Python, with the reason.
        self.packages, self.reasons, self.foreign = {}, {}, {}
        self.modules, self.reached, self.left = {}, set(), []
        # Hooks that a migration runs, and the apps of which all code counts.
        self.hooks, self.whole = {"before_migrate", "after_migrate", "before_sync", "after_sync"}, {}
        for folder in sorted(os.listdir(apps)):
            top = os.path.join(apps, folder)
            for name in sorted(os.listdir(top)) if os.path.isdir(top) else ():
                here = os.path.join(top, name)
                if any(os.path.isfile(os.path.join(here, one)) for one in ("__init__.py", "hooks.py")):
                    # Of two packages of one name that of the app is it.
                    if name not in self.packages or name == folder:
                        self.packages[name] = here
        self.apps = [name for name, at in self.packages.items() if os.path.isfile(os.path.join(at, "hooks.py"))]

    def name(self, path):
        package = self.package_of(path)
        return os.path.join(package, os.path.relpath(path, self.packages[package]))

    def package_of(self, path):
        return next(name for name, at in self.packages.items() if path.startswith(at + os.sep))

    def module(self, path):
        if path not in self.modules:
            package = self.package_of(path)
            inside = os.path.relpath(os.path.dirname(path), self.packages[package]).split(os.sep)
            try:
                self.modules[path] = Module(path, [package] + [part for part in inside if part != "."])
            except (SyntaxError, ValueError):
                self.modules[path] = None
                self.whole.setdefault(package, f"{self.name(path)} can't be read")
        return self.modules[path]

    def find(self, dotted):
        """The files that importing a module runs, and what of the name is left:
        names of things in the last file."""
        first, *rest = dotted.split(".")
        at = self.packages.get(first)
        if not at:
            return [], rest
        found = [os.path.join(at, "__init__.py")]
        while rest:
            folder = os.path.join(at, rest[0])
            if os.path.isfile(os.path.join(folder, "__init__.py")):
                found.append(os.path.join(folder, "__init__.py"))
            elif os.path.isfile(folder + ".py"):
                found.append(folder + ".py")
                rest = rest[1:]
                break
            elif not os.path.isdir(folder):
                break
            at, rest = folder, rest[1:]
        return [file for file in found if os.path.isfile(file)], rest

    # What runs.

    def reach(self, path, name, why):
        """Takes in what runs when a module is imported (name is None), or when
        something in it is called."""
        if (path, name) in self.reached:
            return
        self.reached.add((path, name))
        self.reasons.setdefault(path, why)
        # All of Frappe's code counts as it is.
        if self.package_of(path) != "frappe":
            self.left.append((path, name))

    def refer(self, dotted, why, imported=False):
        """Takes in what a dotted name stands for."""
        for _ in range(20):  # a name may be imported on and on
            files, rest = self.find(dotted)
            if not files:
                if imported and dotted.split(".")[0] not in self.packages:
                    self.foreign.setdefault(dotted.split(".")[0], why)
                return
            for file in files:
                self.reach(file, None, why)
            module = self.module(files[-1]) if rest and self.package_of(files[-1]) != "frappe" else None
            if not module:
                return
            if rest[0] in module.defined:
                self.reach(files[-1], rest[0], why)
                return
            onward = module.bound.get(rest[0])
            if not onward:
                for star in module.stars:
                    self.refer(f"{star}.{rest[0]}", why)
                return
            dotted = ".".join([onward, *rest[1:]])

    def follow(self):
        while self.left:
            path, name = self.left.pop()
            module = self.module(path)
            if module:
                self.follow_code(module, name)

    def follow_code(self, module, name):
        why = f"which {self.name(module.path)} uses"
        nodes = list(module.top if name is None else ast.walk(module.defined[name]))
        bound, stars = (module.bound, module.stars) if name is None else module.imports(nodes)
        bound, stars = {**module.bound, **bound}, module.stars + stars
        is_hooks = os.path.basename(module.path) == "hooks.py"
        for node in nodes:
            if isinstance(node, ast.Import):
                for one in node.names:
                    self.refer(one.name, why, True)
                    self.miss(module, one.name)
            elif isinstance(node, ast.ImportFrom):
                base = module.base(node)
                self.miss(module, base)
                # What is imported may be a module itself; a function runs where it is called.
                for one in node.names:
                    files, rest = self.find(f"{base}.{one.name}")
                    self.refer(f"{base}.{one.name}" if files and not rest else base, why, True)
            elif isinstance(node, (ast.Name, ast.Attribute)):
                first, *rest = chain(node) or [""]
                if first in module.defined:
                    self.reach(module.path, first, why)
                elif first in bound:
                    self.refer(".".join([bound[first], *rest]), why)
                elif first:
                    for star in stars:
                        self.refer(".".join([star, first, *rest]), why)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not is_hooks and DOTTED.fullmatch(node.value):
                if len(self.find(node.value)[0]) > 1:
                    self.refer(node.value, why)
            elif isinstance(node, ast.Call):
                self.follow_loader(module, node)

    def miss(self, module, dotted):
        """Has all of an app's code count where it imports what can't be found."""
        _, rest = self.find(dotted)
        if rest and dotted.split(".")[0] in self.packages and self.package_of(module.path) != "frappe":
            self.whole.setdefault(self.package_of(module.path), f"{self.name(module.path)} imports {dotted}, which is no file")

    def follow_loader(self, module, node):
        """Has all of an app's code count where it loads what is not written there."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = (node.args + [one.value for one in node.keywords])[:1]
        literal = given and isinstance(given[0], ast.Constant)
        at = f"{self.name(module.path)} (line {node.lineno})"
        if name == "get_hooks" and literal:
            self.hooks.add(given[0].value)
        elif name == "get_hooks":
            for app in self.apps:
                self.whole.setdefault(app, f"{at} runs hooks of any name")
        elif name in LOADERS and not literal:
            self.whole.setdefault(self.package_of(module.path), f"{at} loads code by a name that is not written there")

    def follow_hooks(self, app):
        """Takes in what an app's hooks.py has a migration run."""
        path = os.path.join(self.packages[app], "hooks.py")
        self.reach(path, None, "")
        module = self.module(path)
        for node in module.top if module else ():
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)} & self.hooks
                sure = all([self.follow_value(node.value, name) for name in sorted(names)])
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                sure = not any((one.asname or one.name) in self.hooks | {"*"} for one in node.names)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                sure = node.name not in self.hooks | {"__getattr__"}
            elif isinstance(node, ast.Name):
                # Added to, or filled in by other means.
                sure = not (isinstance(node.ctx, ast.Load) and node.id in self.hooks or node.id in ("globals", "locals", "vars", "setattr"))
            else:
                sure = not (isinstance(node, ast.AugAssign) and getattr(node.target, "id", "") in self.hooks)
            if not sure:
                self.whole.setdefault(app, f"what {self.name(path)} has it run is put together (line {node.lineno})")

    def follow_value(self, value, hook):
        """Takes in the functions that a hook names, and says whether those are
        all."""
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            files, rest = self.find(value.value)
            self.refer(value.value, f"which {hook} runs")
            # What names nothing that is there fails, or is found by other means.
            return bool(files) and len(rest) == 1
        if isinstance(value, ast.Dict):
            return all([self.follow_value(one, hook) for one in value.values])
        if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
            return all([self.follow_value(one, hook) for one in value.elts])
        return value is None or isinstance(value, ast.Constant)

    # What is read.

    def read_folder(self, app):
        for at, folders, files in os.walk(self.packages[app]):
            folders[:] = sorted(set(folders) - PRUNED)
            inside = os.path.relpath(at, self.packages[app]).split(os.sep)
            for file in files:
                path, ending = os.path.join(at, file), os.path.splitext(file)[1]
                if (
                    file in ("patches.txt", "modules.txt", "hooks.py")
                    or "fixtures" in inside
                    or ending == ".json" and file != "package.json" and not file.startswith("tsconfig")
                    or ending == ".csv" and "translations" not in inside
                ):
                    self.reasons.setdefault(path, "")
                elif inside[0] == "www" and ending in (".html", ".md", ".py"):
                    self.reasons.setdefault(path, "a page that the search index has")

    def read_patches(self, app):
        path = os.path.join(self.packages[app], "patches.txt")
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    words = line.split()
                    files, _ = self.find(words[0]) if words and DOTTED.fullmatch(words[0]) else ([], "")
                    if len(files) > 1:
                        self.reasons.setdefault(files[-1], "which patches.txt lists")

    def read_code(self, app, why):
        for at, folders, files in os.walk(self.packages[app]):
            folders[:] = sorted(set(folders) - PRUNED - {"tests", "patches"})
            for file in files:
                if file.endswith(".py") and not file.startswith("test_"):
                    self.reasons.setdefault(os.path.join(at, file), why)

    def read(self):
        known = None
        # A hook may run those of other names.
        while known != (len(self.hooks), len(self.reached)):
            known = len(self.hooks), len(self.reached)
            for app in self.apps:
                self.follow_hooks(app)
            self.follow()
        for app in self.apps:
            self.read_folder(app)
            self.read_patches(app)
        if "frappe" in self.packages:
            self.read_code("frappe", "Frappe's own code")
        for app, why in self.whole.items():
            self.read_code(app, f"which may run: {why}")

    def lines(self):
        for path, why in self.reasons.items():
            with open(path, "rb") as file:
                yield hashlib.sha256(VERSION.sub(b"", file.read())).hexdigest(), self.name(path), why
        known = metadata.packages_distributions() if self.foreign else {}
        for name, why in self.foreign.items():
            for package in known.get(name, ()):
                found = metadata.distribution(package)
                # One from a repository may have the same version at another commit.
                origin = json.loads(found.read_text("direct_url.json") or "{}").get("vcs_info")
                yield hashlib.sha256(f"{found.version} {origin}".encode()).hexdigest(), f"Python package {package}", why


if __name__ == "__main__":
    bench = Bench(sys.argv[1] if len(sys.argv) > 1 else "/home/frappe/frappe-bench/apps")
    bench.read()
    for digest, name, why in sorted(set(bench.lines()), key=lambda line: line[1:]):
        print(f"{digest}  {name}" + (f"\t{why}" if why else ""))
