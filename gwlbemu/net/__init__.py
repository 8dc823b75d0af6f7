"""The machine: namespaces, links, routes and nftables through pyroute2; build and remove."""
