"""Kinto as its documentation has it behind a WSGI server: nothing but its own settings, from `KINTO_INI`."""

import configparser
import os

from kinto import main

_config = configparser.ConfigParser()
_config.read(os.environ["KINTO_INI"])
application = main({}, **dict(_config.items("app:main")))
