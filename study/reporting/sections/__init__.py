"""Sections of a report, one per module; the module name is the id of the section on the page.

Every module has a function ``section(context)`` that returns a `DocumentSection`, or None to leave
the section out.
"""
