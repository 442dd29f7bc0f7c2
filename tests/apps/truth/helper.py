"""A helper that takes long to import its framework, and then tells the time."""

import sys
import time

import django.contrib.admin  # noqa: F401
import django.db.models  # noqa: F401
import django.test  # noqa: F401

with open("/etc/hostname", encoding="utf-8"):
    pass
sys.stdout.write(f"{time.monotonic_ns()}\n")
