"""The cache. Without its Redis everything works, only slower."""

import pickle

import redis

import frappe


class RedisWrapper:
    _clients = {}

    def client(self):
        url = frappe.get_conf().redis_cache
        return self._clients.setdefault(url, redis.from_url(url))

    @staticmethod
    def make_key(key, shared=False):
        return key if shared else f"{frappe.conf.db_name}|{key}"

    def get_value(self, key, generator=None, shared=False):
        try:
            if (value := self.client().get(self.make_key(key, shared))) is not None:
                return pickle.loads(value)
        except redis.exceptions.ConnectionError:
            pass
        value = generator() if generator else None
        if value is not None:
            self.set_value(key, value, shared)
        return value

    def set_value(self, key, value, shared=False):
        try:
            self.client().set(self.make_key(key, shared), pickle.dumps(value))
        except redis.exceptions.ConnectionError:
            pass

    def delete_value(self, keys, shared=False):
        try:
            for key in [keys] if isinstance(keys, str) else keys:
                self.client().delete(self.make_key(key, shared))
        except redis.exceptions.ConnectionError:
            pass

    def delete_keys(self, prefix):
        """Deletes the site's keys that begin so."""
        try:
            for key in self.client().scan_iter(self.make_key(prefix) + "*"):
                self.client().delete(key)
        except redis.exceptions.ConnectionError:
            pass


cache = RedisWrapper()
