#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""nvme_cli.py TESTS CONTROLLER FILE: run nvme-cli's own tests, which are in the folder TESTS, on CONTROLLER and
its namespace 1, and write a line for each to FILE: "ok", "FAIL" or "skip", its name, and the reason. They keep
their files in the current folder."""
import importlib
import json
import pathlib
import sys
import unittest

tests, controller, file = sys.argv[1:]
pathlib.Path("tests").mkdir()
pathlib.Path("tests/config.json").write_text(
    json.dumps({"controller": controller, "ns1": controller + "n1", "log_dir": "logs/"}))
sys.path.insert(0, tests)
nvme_test = importlib.import_module("nvme_test")


# Before and after each test they create the namespace anew, which QEMU's controller can't. Leave it as it is; the
# tests that create more of them are skipped.
def keep_namespace(self):
    self.dps = self.flbas = 0
    self.ctrl_id = self.get_ctrl_id()


def cant_create(self, *_):
    self.skipTest("QEMU's controller can't create namespaces")


nvme_test.TestNVMe.create_and_attach_default_ns = keep_namespace
nvme_test.TestNVMe.delete_all_ns = cant_create


class Results(unittest.TextTestResult):
    lines = []

    def line(self, state, test, reason=""):
        self.lines.append(f"{state} {test.id()} {reason}".rstrip())

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("skip", test, reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line("FAIL", test, str(err[1]).splitlines()[0])

    def addError(self, test, err):
        super().addError(test, err)
        self.line("FAIL", test, repr(err[1]))


suite = unittest.TestSuite(
    unittest.defaultTestLoader.loadTestsFromName(x.stem) for x in sorted(pathlib.Path(tests).glob("*_test.py")))
unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Results).run(suite)
pathlib.Path(file).write_text("".join(f"{x}\n" for x in Results.lines))
