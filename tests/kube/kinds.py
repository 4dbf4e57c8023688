# SPDX-License-Identifier: Apache-2.0
"""kinds.yaml: for every kind that the chart defines a good spec and a bad one. The unit tests of what reads objects take it, too."""
import os

import yaml

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "kinds.yaml"), encoding="ascii") as table:
    KINDS = {one["kind"]: (one["good"], one["bad"]) for one in yaml.safe_load_all(table)}
