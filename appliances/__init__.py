"""The other end of the tunnel: firewall, ids, passthrough, and a broken one for tests; they import only wire and ports."""
