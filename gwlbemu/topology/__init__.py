"""What shall exist. Pure: no file is opened here, nothing of the machine is touched.

    text --document--> data --schema--> Topology --checks--> Parsed --resolve--> Plan

`parse(text, source)` does the first three steps and raises one TopologyError that lists all that is wrong with the
file; `resolve(parsed)` decides every name, address, route, MAC and MTU. `render` prints a plan, `encode` stores it.
"""
