"""The keeper of an application load balancer's node: probes, tells HAProxy what the core says, logs, answers."""
