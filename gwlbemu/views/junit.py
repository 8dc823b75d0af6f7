"""The results of expectations as JUnit XML, which CI servers read."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from gwlbemu.errors import plain, plain_lines
from gwlbemu.views.expectations import Result


def junit_xml(source: str, results: Sequence[Result]) -> str:
    """Return one test suite, called like the topology file, with a test case for each result."""
    failed = sum(not result.held for result in results)
    seconds = sum(result.seconds for result in results)
    suite = ElementTree.Element(
        "testsuite", name=plain(source), tests=str(len(results)), failures=str(failed), errors="0", skipped="0",
        time=f"{seconds:.3f}",
    )  # fmt: skip
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{plain(source)}:{result.case.line}", name=str(result.case),
            time=f"{result.seconds:.3f}",
        )  # fmt: skip
        if not result.held:
            failure = ElementTree.SubElement(case, "failure", message=plain("; ".join(result.problems)))
            failure.text = plain_lines("\n".join([*result.problems, "", *result.explained]))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"
