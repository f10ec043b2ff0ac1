"""Who is calling, and what they may do: identity, policy, property protections, quotas."""
