# Lets an app tell what it needs to run where no other app is there: setup.py often reads
# the version from its own package, which imports frappe. What is asked for of the apps
# that BENCH_APPS names is there then, and is nothing. Python imports this file by its
# name, sitecustomize, before it runs anything else.

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

NAMES = os.environ.get("BENCH_APPS", "").split()


class Absent(ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        # It takes a while to import, and every Python here reads this file.
        from unittest.mock import Mock

        # No MagicMock: that is an empty list too, and requirements must not get lost.
        return Mock()


class Apps(MetaPathFinder, Loader):
    def find_spec(self, fullname, path=None, target=None):
        app = fullname.partition(".")[0]
        # The app that is asked lies where its back end runs.
        if app in NAMES and not os.path.isdir(app):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return Absent(spec.name)

    def exec_module(self, module):
        pass


# Last: what can be found is taken.
sys.meta_path.append(Apps())
