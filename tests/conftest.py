"""The tests choose by prediction: no table that this machine was tuned with may move them."""

import os

os.environ["FASTCONV_TUNING"] = "off"
