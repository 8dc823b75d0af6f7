"""The only rooms that know both halves: node (core + ports), lab (plan -> namespaces -> processes), control socket."""
