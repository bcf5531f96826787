"""What a wheel of Nightjar requires.

By default everything: the extras `spark`, `train`, `content`, `serve` and `tune`. Built with
`NIGHTJAR_SLIM=1`, nothing by itself, so that a machine installs the extras that it needs and no
more; such a wheel says so in its version, as those of libraries built for one kind of hardware do.
"""

import os

from setuptools import setup

VERSION = "0.3.0"
EVERYTHING = "nightjar[spark,train,content,serve,tune]"

is_slim = os.environ.get("NIGHTJAR_SLIM") == "1"
setup(
    version=f"{VERSION}+slim" if is_slim else VERSION,
    install_requires=[] if is_slim else [EVERYTHING],
)
