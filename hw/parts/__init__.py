"""Components that several rooms share: ports, memories, delays, cells of a technology."""
