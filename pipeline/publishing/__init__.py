"""From a signed artifact to the clouds: transactions, rotation, the nightly."""
