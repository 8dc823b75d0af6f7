"""A topology file: YAML -> document -> schema -> checks. Ends in a `Parsed` topology that says what the user wants.

Nothing here decides an address, a name or a route that the file leaves open: that is the plan's business.
"""
