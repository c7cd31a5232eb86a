"""Approval by web: a page lists the calls that wait for a person, who decides about each."""
