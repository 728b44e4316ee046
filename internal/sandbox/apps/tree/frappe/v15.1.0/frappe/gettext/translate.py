"""Translations: compiled when assets are built, loaded from there."""

import gettext
import os

import frappe


def get_locale_dir():
    return os.path.join(frappe.get_app_path("frappe", "..", "..", ".."), "sites", "assets", "locale")


def get_translations_from_mo(lang, app):
    """The translations of an app into a language: texts by their English."""
    found = gettext.find(app, get_locale_dir(), [lang])
    if not found:
        return {}
    with open(found, "rb") as file:
        catalog = gettext.GNUTranslations(file)
    return {text: translated for text, translated in catalog._catalog.items() if isinstance(text, str) and text}
