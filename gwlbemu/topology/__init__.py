"""What shall exist: schema (what the file says) -> resolve (netaddr) -> plan (every name, address and route; frozen, printable). Pure."""
