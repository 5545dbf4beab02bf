"""How torch is run alongside fastconv here."""

import logging

import torch

# What it traces of its own tracing is not part of a failure's report, and slow to write.
logging.getLogger("torch.__trace").propagate = False
# Its threads and fastconv's would wait for each other's cores, in every process of the tests.
torch.set_num_threads(1)
