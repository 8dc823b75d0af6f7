"""A checked topology -> the plan: every name, address, route and ruleset decided; frozen and printable.

`resolve` composes, `values` has the types, `encode` writes and reads them as JSON, `render` prints them for people.
"""
