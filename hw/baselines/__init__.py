"""What the array's PEs are compared with: the same ports and registers, plainer arithmetic."""
