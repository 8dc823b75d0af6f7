"""What people do to a running lab to learn something: inject packets, follow a flow, drill a failure."""
