"""Python reads this as it starts: a worker that a test starts is handed to the zygote, everything else goes on.

A worker takes seconds to load torch and transformers, which was most of the tests' time. Only the start is other than
a user's: the worker is a process of its own, with the same arguments, environment, folder and streams.
"""

import os
import sys

if "HONED_TESTS_ZYGOTE" in os.environ:
    import stand_in

    if stand_in.wanted(sys.orig_argv):
        stand_in.hand_over(os.environ["HONED_TESTS_ZYGOTE"])  # returns only if a cold start is needed
