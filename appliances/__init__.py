"""The other end of the tunnel: firewall, ids, passthrough, and a broken one for tests. Imports only wire and ports."""
