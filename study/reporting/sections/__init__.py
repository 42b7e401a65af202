"""Sections of a report, one a file: the name of a file is the address of its section.

A file has one function, ``section(material) -> Section | None``; None leaves the section out.
"""
